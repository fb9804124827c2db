(* The host of `spelter demo`: it holds the current version of its plug-in, and nothing else of any. *)

type plugin = { name : string; price : int -> int }
type current = { mutable plugin : plugin }

external register : string -> 'a -> unit = "caml_register_named_value"

let current = { plugin = { name = "no plug-in yet"; price = fun quantity -> quantity } }
let install plugin = current.plugin <- plugin
let price quantity = (current.plugin.name, current.plugin.price quantity)
let () = register "price" price
