(* Permutations in arrays: the most flips of pancakes. *)
let fannkuch n =
  let p = Array.init n (fun i -> i) and q = Array.make n 0 and count = Array.make n 0 in
  let sign = ref true and max_flips = ref 0 and checksum = ref 0 and r = ref n and finished = ref false in
  while not !finished do
    while !r <> 1 do
      count.(!r - 1) <- !r;
      decr r
    done;
    Array.blit p 0 q 0 n;
    let flips = ref 0 in
    let first = ref q.(0) in
    while !first <> 0 do
      let i = ref 0 and j = ref !first in
      while !i < !j do
        let t = q.(!i) in
        q.(!i) <- q.(!j);
        q.(!j) <- t;
        incr i;
        decr j
      done;
      incr flips;
      first := q.(0)
    done;
    if !flips > !max_flips then max_flips := !flips;
    checksum := if !sign then !checksum + !flips else !checksum - !flips;
    sign := not !sign;
    let searching = ref true in
    while !searching do
      if !r = n then begin
        finished := true;
        searching := false
      end
      else begin
        let first = p.(0) in
        for i = 0 to !r - 1 do
          p.(i) <- p.(i + 1)
        done;
        p.(!r) <- first;
        count.(!r) <- count.(!r) - 1;
        if count.(!r) > 0 then searching := false else incr r
      end
    done
  done;
  (!checksum, !max_flips)

let () =
  let checksum, flips = fannkuch (int_of_string Sys.argv.(1)) in
  Printf.printf "%d %d\n" checksum flips
