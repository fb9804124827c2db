/* The primitives of a fixture (calls.ml), with a value in a global root. */
#include <stdlib.h>
#include <string.h>

typedef long value;
extern value caml_copy_string(const char *);
extern unsigned long caml_string_length(value);
extern void caml_register_generational_global_root(value *);
extern void caml_modify_generational_global_root(value *, value);
extern void caml_failwith(const char *);

static value last = 1;
static int registered = 0;

value host_double(value n) { return 2 * (n - 1) + 1; }

value host_join(value a, value b)
{
  unsigned long length = caml_string_length(a);
  char *joined = malloc(length + caml_string_length(b) + 1);
  value result;
  memcpy(joined, (char *)a, length);
  strcpy(joined + length, (char *)b);
  result = caml_copy_string(joined);
  free(joined);
  if (!registered) {
    caml_register_generational_global_root(&last);
    registered = 1;
  }
  caml_modify_generational_global_root(&last, result);
  return result;
}

value host_fail(value text)
{
  char *copy = strdup((char *)text);
  caml_failwith(copy);
  return 1;
}
