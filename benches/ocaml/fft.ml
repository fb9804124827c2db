(* A recursive fast Fourier transform over arrays of complex numbers, and back. *)
let pi = 4. *. atan 1.

let rec fft sign a =
  let n = Array.length a in
  if n = 1 then a
  else
    let half = n / 2 in
    let even = fft sign (Array.init half (fun i -> a.(2 * i))) in
    let odd = fft sign (Array.init half (fun i -> a.((2 * i) + 1))) in
    let result = Array.make n Complex.zero in
    for k = 0 to half - 1 do
      let t = Complex.mul (Complex.polar 1. (sign *. 2. *. pi *. float_of_int k /. float_of_int n)) odd.(k) in
      result.(k) <- Complex.add even.(k) t;
      result.(k + half) <- Complex.sub even.(k) t
    done;
    result

let () =
  let n = int_of_string Sys.argv.(1) in
  let a = Array.init 1024 (fun i -> { Complex.re = float_of_int (i land 15); im = 0. }) in
  let sum = ref 0. in
  for _ = 1 to n do
    let back = fft 1. (fft (-1.) a) in
    sum := !sum +. (Complex.norm back.(17) /. 1024.)
  done;
  Printf.printf "%.6f\n" !sum
