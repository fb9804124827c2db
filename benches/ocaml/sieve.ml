(* Arrays of booleans and bytes: Eratosthenes' sieve. *)
let sieve n =
  let composite = Array.make (n + 1) false in
  let primes = ref 0 in
  for i = 2 to n do
    if not composite.(i) then begin
      incr primes;
      let j = ref (i * i) in
      while !j <= n do
        composite.(!j) <- true;
        j := !j + i
      done
    end
  done;
  !primes

let sieve_bytes n =
  let composite = Bytes.make (n + 1) '\000' in
  let primes = ref 0 in
  for i = 2 to n do
    if Bytes.get composite i = '\000' then begin
      incr primes;
      let j = ref (i * i) in
      while !j <= n do
        Bytes.set composite !j '\001';
        j := !j + i
      done
    end
  done;
  !primes

let () =
  for _ = 1 to int_of_string Sys.argv.(1) do
    Printf.printf "%d %d\n" (sieve 100_000) (sieve_bytes 100_000)
  done
