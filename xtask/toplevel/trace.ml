(* #trace exchanges the code of closures and rearranges the stack. *)
let rec fact n = if n = 0 then 1 else n * fact (n - 1);;
let add a b = a + b;;
let twice f x = f (f x);;
#trace fact;;
fact 3;;
#trace add;;
add 1 2;;
twice (add 3) 4;;
#trace twice;;
twice (add 3) 4;;
#untrace add;;
add 1 2;;
let fact n = n;;
fact 3;;
#untrace_all;;
twice (add 3) 4;;
Gc.full_major ();;
twice (add 3) 4;;
(* A function of the toplevel's own that nothing has called yet. *)
#trace List.combine;;
List.combine [1; 2] [3; 4];;
#quit;;
