(* Strings byte by byte and by the standard library: a Caesar cipher, splitting, searching, upper case. *)
let text = String.concat " " (List.init 200 (fun i -> "word" ^ string_of_int (i * i)))

let rotate by s =
  String.map (fun c -> if c >= 'a' && c <= 'z' then Char.chr (97 + ((Char.code c - 97 + by) mod 26)) else c) s

let count_char c s =
  let n = ref 0 in
  for i = 0 to String.length s - 1 do
    if s.[i] = c then incr n
  done;
  !n

let is_palindrome s =
  let rec go i j = i >= j || (s.[i] = s.[j] && go (i + 1) (j - 1)) in
  go 0 (String.length s - 1)

let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 in
  for i = 1 to n do
    let s = rotate i text in
    let words = String.split_on_char ' ' s in
    sum := !sum + count_char 'o' s + List.length (List.filter is_palindrome words);
    let back = String.concat "-" (List.map String.uppercase_ascii words) in
    sum := !sum + (try String.index back 'D' with Not_found -> 7) + Char.code back.[i mod String.length back]
  done;
  Printf.printf "%d\n" !sum
