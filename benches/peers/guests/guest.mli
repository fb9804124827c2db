val add : int -> int -> int
val fib : int -> int
val rounds : int -> int
