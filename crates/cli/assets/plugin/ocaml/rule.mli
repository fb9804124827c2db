(* What the host calls: the types are compared with those of src/main.rs when the plug-in is loaded. *)

type order = { item : string; count : int; price : float }
type verdict = Accept | Refuse of string

val decide : order -> verdict
