(* One version of the plug-in: its name and its rate differ from version to version. *)

external ( + ) : int -> int -> int = "%addint"
external ( - ) : int -> int -> int = "%subint"
external ( * ) : int -> int -> int = "%mulint"
external ( > ) : int -> int -> bool = "%greaterthan"

type discount = { from : int; percent : int }
type discounts = None | Some of discount * discounts

let discounts = Some ({ from = 10; percent = 2 }, Some ({ from = 100; percent = 5 }, None))

let rec fold f acc = function
  | None -> acc
  | Some (discount, rest) -> fold f (f acc discount) rest

let percent quantity =
  fold (fun best { from; percent } -> if quantity + 1 > from then percent else best) 0 discounts

let price quantity = quantity * 123456789 * (100 - percent quantity)
let () = Host.install { Host.name = "version 0"; price }
