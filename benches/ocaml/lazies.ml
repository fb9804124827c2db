(* Lazy values and sequences: a stream of primes, and a memoised one of Fibonacci numbers. *)
type 'a stream = Cons of 'a * 'a stream Lazy.t

let rec from n = Cons (n, lazy (from (n + 1)))
let rec filter p (Cons (x, rest)) = if p x then Cons (x, lazy (filter p (Lazy.force rest))) else filter p (Lazy.force rest)
let rec sieve (Cons (p, rest)) = Cons (p, lazy (sieve (filter (fun x -> x mod p <> 0) (Lazy.force rest))))
let rec nth (Cons (x, rest)) n = if n = 0 then x else nth (Lazy.force rest) (n - 1)

let () =
  let n = int_of_string Sys.argv.(1) in
  Printf.printf "%d\n" (nth (sieve (from 2)) n);
  let sum = ref 0 in
  for i = 1 to n * 20 do
    Seq.iter (fun x -> sum := (!sum + x) land 0xFFFFFF) (Seq.map (fun x -> x * i) (List.to_seq [ 1; 2; 3; 4; 5; 6; 7; 8 ]))
  done;
  Printf.printf "%d\n" !sum
