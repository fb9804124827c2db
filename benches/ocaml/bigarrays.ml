(* Bigarrays: a prefix sum, a stencil over two dimensions, a histogram of bytes. *)
open Bigarray

let () =
  let n = int_of_string Sys.argv.(1) in
  let ints = Array1.create int c_layout 10_000 in
  let grid = Array2.create float64 c_layout 100 100 in
  let bytes = Array1.init int8_unsigned c_layout 4096 (fun _ -> 0) in
  for i = 0 to 9_999 do ints.{i} <- i land 63 done;
  for i = 0 to 99 do for j = 0 to 99 do grid.{i, j} <- float_of_int (i * j land 31) done done;
  for _ = 1 to n do
    for i = 1 to 9_999 do
      ints.{i} <- (ints.{i} + ints.{i - 1}) land 0xFFFF
    done;
    for i = 1 to 98 do
      for j = 1 to 98 do
        grid.{i, j} <- (grid.{i - 1, j} +. grid.{i + 1, j} +. grid.{i, j - 1} +. grid.{i, j + 1}) *. 0.25
      done
    done;
    for i = 0 to 9_999 do
      let k = ints.{i} land 4095 in
      bytes.{k} <- bytes.{k} + 1
    done
  done;
  Printf.printf "%d %.6f %d\n" ints.{9_999} grid.{50, 50} bytes.{77}
