/* What the programs in this folder call: as little as possible around one call, allocation, callback or exception. */
#define CAML_NAME_SPACE
#include <caml/mlvalues.h>
#include <caml/alloc.h>
#include <caml/memory.h>
#include <caml/fail.h>
#include <caml/callback.h>
#include <caml/custom.h>
#include <string.h>

value bench_add(value a, value b)
{
  return a + b - 1;
}

value bench_six(value *argv, int argn)
{
  return argv[0] + argv[5] - 1;
}

value bench_pair(value a, value b)
{
  CAMLparam2(a, b);
  CAMLlocal1(pair);
  pair = caml_alloc_small(2, 0);
  Field(pair, 0) = a;
  Field(pair, 1) = b;
  CAMLreturn(pair);
}

value bench_float(value a)
{
  return caml_copy_double(Double_val(a) + 1.0);
}

value bench_string(value n)
{
  value s = caml_alloc_string(Long_val(n));
  memset(Bytes_val(s), 'x', Long_val(n));
  return s;
}

static struct custom_operations number = {
  "bench.number", custom_finalize_default, custom_compare_default, custom_hash_default, custom_serialize_default,
  custom_deserialize_default, custom_compare_ext_default, custom_fixed_length_default
};

value bench_custom(value n)
{
  value v = caml_alloc_custom(&number, 16, 0, 1);
  *(long *) Data_custom_val(v) = Long_val(n);
  return v;
}

value bench_number(value v)
{
  return Val_long(*(long *) Data_custom_val(v));
}

value bench_call(value f, value n)
{
  return caml_callback(f, n);
}

value bench_fold(value f, value start, value n)
{
  CAMLparam2(f, start);
  long count = Long_val(n);
  for (long i = 0; i < count; i++) start = caml_callback2(f, start, Val_long(i));
  CAMLreturn(start);
}

value bench_raise(value n)
{
  if (Long_val(n) % 2) caml_raise_not_found();
  return n;
}

value bench_fill(value array, value v)
{
  mlsize_t n = Wosize_val(array);
  for (mlsize_t i = 0; i < n; i++) Store_field(array, i, v);
  return Val_unit;
}
