(* A whole small program: a lexer, a parser and an interpreter of a toy language. *)
type token = Int of int | Ident of string | Sym of char | Eof

let lex s =
  let tokens = ref [] and i = ref 0 in
  let n = String.length s in
  let span p = let j = ref !i in while !j < n && p s.[!j] do incr j done; let w = String.sub s !i (!j - !i) in i := !j; w in
  while !i < n do
    match s.[!i] with
    | ' ' | '\n' -> incr i
    | '0' .. '9' -> tokens := Int (int_of_string (span (fun c -> c >= '0' && c <= '9'))) :: !tokens
    | 'a' .. 'z' -> tokens := Ident (span (fun c -> c >= 'a' && c <= 'z')) :: !tokens
    | c -> tokens := Sym c :: !tokens; incr i
  done;
  List.rev (Eof :: !tokens)

type expr = Const of int | Get of string | Bin of char * expr * expr
type stmt = Set of string * expr | While of expr * stmt list

let parse tokens =
  let rest = ref tokens in
  let peek () = List.hd !rest and advance () = rest := List.tl !rest in
  let expect c = if peek () = Sym c then advance () else failwith "syntax" in
  let rec expr () = binary [ '<' ] (fun () -> binary [ '+'; '-' ] (fun () -> binary [ '*'; '%' ] atom))
  and binary ops next =
    let rec go left = match peek () with
      | Sym c when List.mem c ops -> advance (); go (Bin (c, left, next ()))
      | _ -> left in
    go (next ())
  and atom () = match peek () with
    | Int n -> advance (); Const n
    | Ident x -> advance (); Get x
    | Sym '(' -> advance (); let e = expr () in expect ')'; e
    | _ -> failwith "syntax" in
  let rec stmts () = match peek () with
    | Ident "while" -> advance (); let c = expr () in expect '{'; let body = stmts () in expect '}'; let s = While (c, body) in s :: stmts ()
    | Ident x -> advance (); expect '='; let e = expr () in expect ';'; let s = Set (x, e) in s :: stmts ()
    | _ -> [] in
  stmts ()

let run program =
  let env = Hashtbl.create 8 in
  let rec eval = function
    | Const n -> n
    | Get x -> (try Hashtbl.find env x with Not_found -> 0)
    | Bin ('+', a, b) -> eval a + eval b
    | Bin ('-', a, b) -> eval a - eval b
    | Bin ('*', a, b) -> eval a * eval b
    | Bin ('%', a, b) -> eval a mod eval b
    | Bin (_, a, b) -> if eval a < eval b then 1 else 0
  and exec = function
    | Set (x, e) -> Hashtbl.replace env x (eval e)
    | While (c, body) as w -> if eval c <> 0 then begin List.iter exec body; exec w end in
  List.iter exec program;
  Hashtbl.find env "sum"

let source = "sum = 0; i = 0; while i < limit { j = 0; while j < 10 { sum = (sum + i * j) % 1000003; j = j + 1; } i = i + 1; }"

let () =
  let n = int_of_string Sys.argv.(1) in
  let program = parse (lex ("limit = " ^ string_of_int n ^ ";" ^ source)) in
  Printf.printf "%d\n" (run program)
