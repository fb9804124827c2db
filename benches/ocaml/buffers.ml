(* Buffers: characters, strings, numbers; then a scan of what came out. *)
let () =
  let n = int_of_string Sys.argv.(1) in
  let b = Buffer.create 16 in
  let sum = ref 0 in
  for i = 1 to n do
    Buffer.clear b;
    for j = 1 to 100 do
      Buffer.add_char b (Char.unsafe_chr (97 + (j mod 26)));
      Buffer.add_string b (string_of_int (i + j));
      if j land 7 = 0 then Buffer.add_substring b "0123456789" (j land 3) 4
    done;
    let s = Buffer.contents b in
    let h = ref 0 in
    String.iter (fun c -> h := ((!h * 31) + Char.code c) land 0xFFFFFF) s;
    sum := (!sum + !h + Bytes.length (Bytes.of_string s)) land 0xFFFFFFF
  done;
  Printf.printf "%d\n" !sum
