(** Loading, unloading and inspecting code, for OCaml programs that Spelter runs.

    The primitives are Spelter's own: link programs with [ocamlc -no-check-prims]. *)

(** A unit that was loaded. Holding this does not keep it alive. *)
type t

(** Raised, with the unit's name, by every call into a unit that has been revoked. *)
exception Revoked of string

(** Loads a compiled unit ([.cmo]) that no other unit can name, and runs its initialiser. The unit can use the modules
    of the program and the public units. It lives as long as something refers to what it made, such as a function that
    it registered.
    @raise Failure when it cannot be linked; then nothing has changed.
    @raise Sys_error when the file cannot be read. *)
val load_private : string -> t

(** The same for the bytes of a [.cmo]. *)
val load_private_bytes : string -> t

(** The same for a unit that units loaded later can name, until it is withdrawn or replaced by another of its name. *)
val load_public_bytes : string -> t

(** The module's name. @raise Not_found when the unit has been freed. *)
val name : t -> string

(** Removes every name of the unit, which is freed when nothing else reaches it. Returns how many names there were: 0
    for a unit that has been freed. *)
val withdraw : t -> int

(** Makes every call into the unit raise {!Revoked}; then only frames that run its code keep the code alive. Returns
    false when the unit was already revoked or freed. Takes as long as [Gc.full_major]. *)
val revoke : t -> bool

(** Whether the collector has not freed it yet. *)
val is_alive : t -> bool

(** A text that explains why the unit is alive: the shortest paths that reach it. Empty when it has been freed. *)
val why : t -> string

type code_stats = {
  loaded : int;  (** units that were loaded *)
  freed : int;  (** of these, freed *)
  loaded_bytes : int;  (** bytes of code that were loaded *)
  freed_bytes : int;  (** of these, freed *)
}

(** What has been loaded and freed so far. *)
val code_stats : unit -> code_stats
