(* What 5.4 finds wrong in marshalled data, which it tests at every step; 5.5 tests closures and empty blocks, too.
   (*toml
   since = "5.4"
   *) *)
let be n width = String.init width (fun i -> Char.chr ((n lsr (8 * (width - 1 - i))) land 255))

let message ?(objects = 100) words data =
  "\x84\x95\xa6\xbe" ^ be (String.length data) 4 ^ be objects 4 ^ be words 4 ^ be words 4 ^ data

external of_bytes : bytes -> int -> Obj.t = "caml_input_value_from_bytes"

let try_ name s =
  match of_bytes (Bytes.of_string s) 0 with
  | v when Obj.is_int v -> Printf.printf "%s: %d\n%!" name (Obj.obj v)
  | v -> Printf.printf "%s: tag %d, size %d\n%!" name (Obj.tag v) (Obj.size v)
  | exception e -> Printf.printf "%s: %s\n%!" name (Printexc.to_string e)

let block ?(code = "\x08") ?(tag = 0) size = code ^ be ((size lsl 10) lor tag) (if code = "\x08" then 4 else 8)
let digest = String.make 16 'd'

let cut =
  [ ""; "\x00"; "\x01\x00"; "\x02\x00"; "\x03\x00"; "\x04"; "\x05\x00"; "\x06\x00"; "\x14\x00"; "\x07\x00"; "\x08\x00"; "\x13\x00";
    "\x09"; "\x0a\x00"; "\x15\x00"; "\x0b\x00"; "\x0c\x00"; "\x0d"; "\x0e"; "\x0f\x00"; "\x16\x00"; "\x17\x00"; "\x11\x00"; "\x12";
    "\x18"; "\x19"; "\x18_j\000"; "\x19_j\000\x00"; "\x19_i\000"; "\x19_n\000"; "\x19_n\000\x02"; "\xa0"; "\x22A"; "\x09\x05A";
    "\x0a\x00\x00\x00\x05A"; "\x0d\x01\x00"; "\x18_bigarr02\000"; "\x18_bigarr02\000\000\000\000\000" ^ be 40 8 ^ "\000" ]

let whole =
  [ ("shared", "\xa0\x04\x02\x40"); ("shared 0", "\xa0\x04\x00\x40"); ("shared first", "\x04\x01");
    ("shared 64", "\xa0\x14" ^ be 1 8 ^ "\x40"); ("object of 1", block ~tag:248 1 ^ "\x41\x42");
    ("block32", block 300 ^ String.make 300 '\x41'); ("block32 cut", block 300 ^ "\x41"); ("then unknown", block 300 ^ "\x1b");
    ("block64", block ~code:"\x13" 3 ^ "\x41\x42\x43"); ("block64 huge", block ~code:"\x13" (1 lsl 50) ^ "\x41");
    ("block64 tag", block ~code:"\x13" ~tag:252 2 ^ "\x41\x42"); ("string of 3000", "\x0a" ^ be 3000 4 ^ String.make 3000 'A');
    ("string 64", "\x15" ^ be (1 lsl 50) 8); ("string 64 huge", "\x15" ^ be (1 lsl 60) 8); ("doubles none", "\x0e\x00");
    ("doubles", "\x0e\x02" ^ String.make 16 'A'); ("doubles cut", "\x07\x00\x00\x00\x03" ^ String.make 16 'A');
    ("doubles huge", "\x17" ^ be (1 lsl 57) 8); ("custom kind", "\x18_j\000\000\000\000\008" ^ be 8 8 ^ "12345678");
    ("bigarray, room", "\x18_bigarr02\000\000\000\000\000" ^ be 32 8 ^ "\000\000\000\001\000\000\000\002\000\001x");
    ("infix of int", "\x11\000\000\000\024\x41"); ("infix of block", "\x11\000\000\000\024\xd0\x41\x41\x41\x41\x41") ]
  @ List.map (fun tag -> (Printf.sprintf "tag %d" tag, block ~tag 2 ^ "\x41\x42")) [ 243; 244; 245; 246; 249; 250; 251; 252; 255 ]

let closures =
  [ ("code in block", "\xa0\x10\000\000\000\008" ^ digest); ("closure of 1", block ~tag:247 1 ^ "\x41");
    ("closure cut", block ~tag:247 2 ^ "\x41"); ("closure of a string", block ~tag:247 2 ^ "\x41\x21A");
    ("unknown code", block ~tag:247 2 ^ "\x10\000\000\000\008" ^ digest ^ "\x41"); ("atom 244", block ~tag:244 0);
    ("atom 247", block ~tag:247 0); ("atom 5", block ~tag:5 0); ("custom size", "\x18_bigarr02\000\000\000\000\000" ^ String.make 8 '\xff') ]

let () =
  List.iter (fun s -> try_ (String.escaped s) (message 20 s)) cut;
  List.iter (fun words -> List.iter (fun (name, s) -> try_ (string_of_int words ^ ", " ^ name) (message words s)) whole) [ 2; 20; 257; 258; 1 ];
  try_ "objects" (message ~objects:2 20 "\xb0\x21A\x21B\x21C");
  if Sys.ocaml_version >= "5.5" then List.iter (fun (name, s) -> try_ name (message 20 s)) closures
