(* Errors of dates, files as big arrays and names, some of which 5.5 changed.
   (*toml
   flags = ["-I", "+unix", "unix.cma"]
   *) *)
let attempt what f =
  match f () with
  | s -> Printf.printf "%s: %s\n" what s
  | exception Unix.Unix_error (e, call, arg) -> Printf.printf "%s: %s %s %S\n" what (Unix.error_message e) call arg
  | exception e -> Printf.printf "%s: %s\n" what (Printexc.to_string e)

let year tm = string_of_int tm.Unix.tm_year
let () =
  attempt "gmtime" (fun () -> year (Unix.gmtime 1e18));
  attempt "localtime" (fun () -> year (Unix.localtime 1e18));
  let tm = Unix.localtime (-1.) in
  attempt "mktime -1" (fun () -> string_of_float (fst (Unix.mktime tm)));
  attempt "mktime" (fun () -> string_of_float (fst (Unix.mktime { tm with tm_year = max_int / 4; tm_mon = 2147483647 })));
  let name = Filename.temp_file "errors" "" in
  let fd = Unix.openfile name [ Unix.O_RDWR ] 0o600 in
  let map ?pos dims =
    string_of_int (Bigarray.Genarray.nth_dim (Unix.map_file fd ?pos Bigarray.char Bigarray.c_layout false dims) 0) in
  attempt "map" (fun () -> map [| 3 |]);
  attempt "map open" (fun () -> map [| -1 |]);
  Unix.close fd;
  Sys.remove name;
  attempt "getpwnam" (fun () -> (Unix.getpwnam "no such user").Unix.pw_name);
  attempt "getgrgid" (fun () -> (Unix.getgrgid 987654).Unix.gr_name);
  attempt "putenv" (fun () -> Unix.putenv "A=" "b"; "done")
