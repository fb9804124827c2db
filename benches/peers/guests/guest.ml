external host_next : int -> int = "host_next"

let add a b = a + b
let rec fib n = if n < 2 then n else fib (n - 1) + fib (n - 2)

let rounds n =
  let sum = ref 0 in
  for _ = 1 to n do
    sum := host_next !sum
  done;
  !sum
