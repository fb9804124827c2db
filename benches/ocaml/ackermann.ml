(* Deep recursion and tail calls. *)
let rec ack m n = if m = 0 then n + 1 else if n = 0 then ack (m - 1) 1 else ack (m - 1) (ack m (n - 1))

let () =
  for _ = 1 to int_of_string Sys.argv.(1) do
    Printf.printf "%d\n" (ack 2 400)
  done
