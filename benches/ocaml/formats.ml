(* Formatted output, into strings and onto stdout. *)
let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 in
  for i = 1 to n do
    let s = Printf.sprintf "%d %5d|%-6s|%x %c %.3f %s" i (i * 7) "ab" i 'q' (float_of_int i /. 3.) "end" in
    sum := !sum + String.length s;
    if i mod 100 = 0 then Printf.printf "%08d %s %b\n" i s (i land 1 = 0)
  done;
  Printf.printf "%d\n" !sum
