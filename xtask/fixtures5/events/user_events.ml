(* Runtime events that a program defines, writes and reads itself: every type, pauses, cursors that are freed.
   (*toml
   flags = ["-I", "+unix", "-I", "+runtime_events", "unix.cma", "runtime_events.cma"]
   since = "5.1"
   run = [{ no-torture = "each collection writes events, too: there is always something to read" }]
   *) *)
open Runtime_events

type User.tag += Mine of int

let pair =
  let encode buf (a, b) = Bytes.set_int16_le buf 0 a; Bytes.blit_string b 0 buf 2 (String.length b); 2 + String.length b in
  let decode buf len = (Bytes.get_int16_le buf 0, Bytes.sub_string buf 2 (len - 2)) in
  Type.register ~encode ~decode

let unit = User.register "unit" (Mine 0) Type.unit
let int = User.register "int" (Mine 1) Type.int
let span = User.register "span" (Mine 2) Type.span
let custom = User.register "custom" (Mine 3) pair

let show : type a. a User.t -> string -> unit = fun ev what ->
  let tag = match User.tag ev with Mine n -> n | _ -> -1 in
  Printf.printf "%s (%d): %s\n" (User.name ev) tag what

let callbacks =
  Callbacks.create ~lifecycle:(fun d _ l data -> Printf.printf "domain %d: %s, data %b\n" d (lifecycle_name l) (data <> None)) ()
  |> Callbacks.add_user_event Type.unit (fun _ _ ev () -> show ev "()")
  |> Callbacks.add_user_event Type.int (fun _ _ ev n -> show ev (string_of_int n))
  |> Callbacks.add_user_event Type.span (fun _ _ ev s -> show ev (if s = Type.Begin then "begin" else "end"))
  |> Callbacks.add_user_event pair (fun _ _ ev (a, b) -> show ev (Printf.sprintf "%d, %S" a b))
  |> Callbacks.add_user_event Type.int (fun _ _ _ n -> if n = 13 then failwith "thirteen")

let write_all n =
  User.write unit (); User.write int n; User.write span Type.Begin; User.write custom (n, String.make n 'x'); User.write span Type.End

(* How many is not compared: OCaml writes events about its stopping of domains. *)
let poll c = match read_poll c callbacks None with
  | n -> Printf.printf "read something: %b\n" (n > 0)
  | exception Failure why -> print_endline why

let () =
  write_all 1;
  (try ignore (create_cursor None) with Failure why -> print_endline why);
  start ();
  let c = create_cursor None in
  write_all 7; poll c; poll c;
  pause (); write_all 8; poll c;
  resume (); write_all 9; poll c;
  User.write int 13; User.write int max_int; poll c; poll c;
  (try ignore (User.register (String.make 128 'a') (Mine 4) Type.unit) with Invalid_argument why -> print_endline why);
  (try ignore (User.register "a\000b" (Mine 4) Type.unit) with Invalid_argument why -> print_endline why);
  free_cursor c; free_cursor c; poll c
