(* Domains that wait for each other in loops, with and without Domain.cpu_relax, get their turns. *)
let turn = Atomic.make 0
let play relax me =
  for _ = 1 to 3 do
    while Atomic.get turn <> me do if relax then Domain.cpu_relax () done;
    Atomic.set turn (1 - me)
  done
let () =
  List.iter (fun relax ->
    let d = Domain.spawn (fun () -> play relax 1) in
    play relax 0; Domain.join d; print_endline "done") [ true; false ]
