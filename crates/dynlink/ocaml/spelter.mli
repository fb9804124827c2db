(** Loading, unloading and asking about code, for OCaml programs that Spelter runs.

    The primitives are Spelter's own: link programs with [ocamlc -no-check-prims]. *)

(** A unit that was loaded. Holding this does not keep it alive. *)
type t

(** Raised, with the unit's name, by every call into a unit that has been revoked. *)
exception Revoked of string

(** Loads a compiled unit ([.cmo]) that no other can name, and runs its initialiser. It sees the modules of the program
    and the public units. It lives as long as something leads to what it made: a function that it registered, say.
    @raise Failure when it cannot be linked; nothing has changed then.
    @raise Sys_error when the file cannot be read. *)
val load_private : string -> t

(** The same for the bytes of a [.cmo]. *)
val load_private_bytes : string -> t

(** The same for a unit that those loaded later can name, until it is withdrawn or another of its name is loaded. *)
val load_public_bytes : string -> t

(** The module's name. @raise Not_found when the unit has been freed. *)
val name : t -> string

(** Takes away every name that leads to the unit; it is freed when nothing else reaches it. Gives how many there were,
    0 also for a unit that has been freed. *)
val withdraw : t -> int

(** Makes every call into the unit raise {!Revoked}, and nothing but frames that run it keep its code. False when it was
    revoked or freed before. Takes as long as [Gc.full_major]. *)
val revoke : t -> bool

(** Whether the collector has not freed it yet. *)
val is_alive : t -> bool

(** Why it is alive, in words: the shortest ways that lead to it. Empty when it has been freed. *)
val why : t -> string

type code_stats = {
  loaded : int;  (** units that were loaded *)
  freed : int;  (** of these, freed *)
  loaded_bytes : int;  (** bytes of code that were loaded *)
  freed_bytes : int;  (** of these, freed *)
}

(** What has been loaded and freed so far. *)
val code_stats : unit -> code_stats
