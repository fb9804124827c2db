(* How domains end: results, exceptions, at_exit functions and what they raise, joining more than once. *)
let p fmt = Printf.printf (fmt ^^ "\n%!")
let join what d =
  match Domain.join d with
  | n -> p "%s: %d" what n
  | exception e -> p "%s: %s" what (Printexc.to_string e)
let () =
  let d = Domain.spawn (fun () -> 3) in
  join "once" d; join "twice" d;
  let d = Domain.spawn (fun () ->
    Domain.at_exit (fun () -> p "registered first");
    Domain.at_exit (fun () -> p "registered second");
    failwith "its exception") in
  join "raised" d; join "again" d;
  join "at exit" (Domain.spawn (fun () -> Domain.at_exit (fun () -> raise Exit); 5));
  join "both" (Domain.spawn (fun () -> Domain.at_exit (fun () -> raise Exit); raise Not_found));
  join "from another" (Domain.spawn (fun () -> Domain.join (Domain.spawn (fun () -> 7))));
  (try Domain.before_first_spawn ignore with Invalid_argument why -> p "%s" why);
  ignore (Domain.spawn (fun () -> failwith "nobody joins"));
  at_exit (fun () -> p "the program's at_exit, in domain %d" (Domain.self () :> int));
  ignore (Domain.spawn (fun () -> at_exit (fun () -> p "the domain's"); exit 3));
  while true do Domain.cpu_relax () done
