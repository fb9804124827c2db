(* Objects: methods called by name, inheritance, instance variables, immediate objects. *)
class virtual shape = object (self)
  method virtual area : int
  method double = 2 * self#area
end

class square side = object
  inherit shape
  val mutable side = side
  method area = side * side
  method grow = side <- (side + 1) land 15
end

class rectangle w h = object
  inherit shape
  val mutable w = w
  method area = w * h
  method grow = w <- (w + 3) land 31
end

let () =
  let n = int_of_string Sys.argv.(1) in
  let shapes = [| (new square 3 :> < area : int; double : int; grow : unit >); (new rectangle 2 5 :> _); (new square 9 :> _) |] in
  let sum = ref 0 in
  for i = 1 to n do
    let s = shapes.(i mod 3) in
    s#grow;
    sum := (!sum + s#area + s#double) land 0xFFFFFF;
    if i land 15 = 0 then begin
      let o = object method get = i method twice = 2 * i end in
      sum := !sum + o#get + o#twice + (new square i)#area
    end
  done;
  Printf.printf "%d\n" !sum
