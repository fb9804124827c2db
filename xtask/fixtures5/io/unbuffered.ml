(* Output channels without a buffer. *)
let () =
  let name = Filename.temp_file "buf" "" in
  let oc = open_out name in
  let size () = let ic = open_in name in let n = in_channel_length ic in close_in ic; n in
  output_string oc "abc"; Printf.printf "%b %d\n" (Out_channel.is_buffered oc) (size ());
  Out_channel.set_buffered oc false; Printf.printf "%b %d\n" (Out_channel.is_buffered oc) (size ());
  output_char oc 'x'; Printf.printf "%d\n" (size ());
  output_string oc "yz"; Printf.printf "%d\n" (size ());
  output_binary_int oc 5; Printf.printf "%d\n" (size ());
  Out_channel.set_buffered oc true; output_char oc 'x'; Printf.printf "%d\n" (size ());
  close_out oc; Printf.printf "%d %b\n" (size ()) (Out_channel.is_buffered oc); Sys.remove name
