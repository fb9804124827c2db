type t = int

exception Revoked of string

let () = Callback.register_exception "Spelter.Revoked" (Revoked "")

type code_stats = { loaded : int; freed : int; loaded_bytes : int; freed_bytes : int }

external load : string -> bool -> t = "spelter_load"
external name : t -> string = "spelter_name"
external withdraw : t -> int = "spelter_withdraw"
external revoke : t -> bool = "spelter_revoke"
external is_alive : t -> bool = "spelter_is_alive"
external why : t -> string = "spelter_why"
external code_stats : unit -> code_stats = "spelter_code_stats"

let load_private_bytes bytes = load bytes false
let load_public_bytes bytes = load bytes true

let load_private path =
  let channel = open_in_bin path in
  let bytes =
    Fun.protect ~finally:(fun () -> close_in channel) (fun () ->
        really_input_string channel (in_channel_length channel))
  in
  load_private_bytes bytes
