(* What reading damaged marshalled data raises in every version: headers, codes, custom blocks, code pointers. *)
let be n width = String.init width (fun i -> Char.chr ((n lsr (8 * (width - 1 - i))) land 255))
let strict = Scanf.sscanf Sys.ocaml_version "%d.%d" (fun major minor -> (major, minor) >= (5, 4))

let header magic width ?len ?(objects = 100) ?(words = 257) data =
  let len = Option.value len ~default:(String.length data) in
  "\x84\x95\xa6" ^ magic ^ (if width = 8 then be 0 4 else "") ^ be len width ^ be objects width
  ^ (if width = 4 then be words 4 else "") ^ be words width ^ data

let message = header "\xbe" 4
let big = header "\xbf" 8

let show read =
  match read () with
  | v when Obj.is_int v -> string_of_int (Obj.obj v)
  | v when Obj.tag v = Obj.custom_tag -> "a custom block"
  | v -> Printf.sprintf "tag %d, size %d" (Obj.tag v) (Obj.size v)
  | exception e -> Printexc.to_string e

external of_bytes : bytes -> int -> Obj.t = "caml_input_value_from_bytes"

let file = Filename.temp_file "damaged" ".bin"

let of_channel s () =
  Out_channel.with_open_bin file (fun oc -> output_string oc s);
  In_channel.with_open_bin file (fun ic -> (input_value ic : Obj.t))

(* Until 5.3, reading bytes that end within their header reads what is behind them. *)
let try_ ?(direct = true) name s =
  let of_string () = if direct then of_bytes (Bytes.of_string s) 0 else Marshal.from_string s 0 in
  Printf.printf "%s: %s | %s\n%!" name (show of_string) (show (of_channel s))

let bigarray ?(size = 40) s = message ("\x18_bigarr02\000\000\000\000\000" ^ be size 8 ^ s)

let () =
  List.iter (fun (name, s) -> try_ ~direct:strict name s)
    [ ("empty", ""); ("short", "\x84\x95\xa6"); ("cut header", String.sub (message "\x41") 0 18);
      ("cut big header", String.sub (big "\x41") 0 28); ("endless", big ~len:(1 lsl 60) "\x41") ];
  List.iter (fun (name, s) -> try_ name s)
    [ ("no magic", String.make 40 'x'); ("cut", message ~len:5 "\x41"); ("more", message ~len:1 "\x41\x42");
      ("unread", message "\x41\x42"); ("big", big "\x41"); ("unknown code", message "\xa0\x41\x1f");
      ("words", message ~words:0x7fffff "\xa0\x21A\x40"); ("objects", message ~objects:1000 "\xa0\x21A\x40");
      ("old custom", message "\x12_i\000\000\000\000\001"); ("unknown custom, fixed", message "\x19_x\000\000\000\000\004");
      ("unknown custom", message ("\x18_x\000\000\000\000\004" ^ be 8 8 ^ "xxxx"));
      ("native integer", message "\x19_n\000\003\000\000\000\001"); ("bigarray, fixed", message "\x19_bigarr02\000");
      ("bigarray", bigarray "\000\000\000\001\000\000\000\002\000\001x");
      ("bigarray, small", bigarray ~size:48 "\000\000\000\001\000\000\000\002\000\001x");
      ("bigarray, dimensions", bigarray "\000\000\000\x11\000\000\000\002\000\001x");
      ("bigarray, kind", bigarray "\000\000\000\001\000\000\000\x20\000\001x");
      ("bigarray, overflow", bigarray ~size:48 ("\000\000\000\002\000\000\000\002\xff\xff\x40" ^ be 0 7 ^ "\xff\xff\x40" ^ be 0 8));
      ("bigarray, huge", bigarray "\000\000\000\001\000\000\000\002\xff\xff\000\xff\000\000\000\000\000\000x");
      ("unknown code module", message ("\xa0\x10\000\000\000\008" ^ String.make 16 'd')) ];
  let size s = try string_of_int (Marshal.data_size (Bytes.of_string s) 0) with Failure s -> s in
  List.iter (fun s -> print_endline (size s)) [ String.make 40 'x'; message ~len:77 ""; big ~len:77 "" ];
  Sys.remove file
