(* Channels that are closed, moved out of range, or cannot be written. *)
let try_ name f = match f () with x -> Printf.printf "%s: %d\n" name x | exception Sys_error e -> Printf.printf "%s: Sys_error %s\n" name e | exception e -> Printf.printf "%s: %s\n" name (Printexc.to_string e)
let name = Filename.temp_file "chan" ""
let () =
  let oc = open_out name in
  output_string oc "hello world\nsecond";
  try_ "seek -1" (fun () -> seek_out oc (-1); pos_out oc);
  try_ "seek -5" (fun () -> seek_out oc (-5); 0);
  try_ "pos" (fun () -> pos_out oc);
  close_out oc;
  try_ "char" (fun () -> output_char oc 'x'; 0);
  try_ "string" (fun () -> output_string oc "x"; 0);
  try_ "flush" (fun () -> flush oc; 0);
  try_ "pos closed" (fun () -> pos_out oc);
  try_ "seek closed" (fun () -> seek_out oc 3; 0);
  let ic = open_in name in
  try_ "line" (fun () -> String.length (input_line ic));
  try_ "seek -1" (fun () -> seek_in ic (-1); 0);
  close_in ic;
  try_ "pos closed" (fun () -> pos_in ic);
  try_ "seek closed" (fun () -> seek_in ic (pos_in ic); 0);
  try_ "seek closed" (fun () -> seek_in ic (pos_in ic - 1); 0);
  try_ "flush" (fun () -> flush oc; 0);
  Sys.remove name;
  let full = open_out "/dev/full" in
  output_string full "x";
  try_ "flush" (fun () -> flush full; 0);
  try_ "close" (fun () -> close_out full; 0);
  try_ "close" (fun () -> close_out full; 0);
  let ro = open_in "/dev/null" in
  let oc : out_channel = Obj.magic (open_out_gen [Open_rdonly] 0 "/dev/null") in
  ignore ro; output_string oc "x";
  try_ "flush ro" (fun () -> flush oc; 0);
  try_ "flush ro" (fun () -> flush oc; 0);
  try_ "close ro" (fun () -> close_out oc; 0);
  Stdlib.at_exit (fun () -> print_endline "bye")
