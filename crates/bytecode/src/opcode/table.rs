//! The instruction table: one row per instruction, from which everything else is derived.

/// Passes the whole instruction table to the macro `$callback`.
///
/// Each row is
///
/// ```text
/// number NAME (operand: Kind, …) { fact: value, … } "what it does";
/// ```
///
/// where the kinds are variants of [`OperandKind`](crate::opcode::OperandKind), and the facts are those fields of
/// [`Facts`](crate::opcode::Facts) that differ from [`Facts::PLAIN`](crate::opcode::Facts::PLAIN). A callback that
/// does not need the facts matches them as one token tree:
///
/// ```
/// macro_rules! names {
///     ($($number:literal $name:ident ($($operand:ident: $kind:ident),*) $facts:tt $doc:literal;)*) => {
///         [$(($number, stringify!($name))),*]
///     };
/// }
/// let table = spelter_bytecode::for_each_op!(names);
/// assert_eq!(table[9], (9, "PUSH"));
/// ```
///
/// In the descriptions, `pop` is the word taken from the top of the stack, and `sp[k]` is counted after any push.
#[macro_export]
macro_rules! for_each_op {
    ($callback:ident) => {
        $callback! {
            // Stack.
            0 ACC0 () { access: Stack(Is(0)) } "accu ← sp[0]";
            1 ACC1 () { access: Stack(Is(1)) } "accu ← sp[1]";
            2 ACC2 () { access: Stack(Is(2)) } "accu ← sp[2]";
            3 ACC3 () { access: Stack(Is(3)) } "accu ← sp[3]";
            4 ACC4 () { access: Stack(Is(4)) } "accu ← sp[4]";
            5 ACC5 () { access: Stack(Is(5)) } "accu ← sp[5]";
            6 ACC6 () { access: Stack(Is(6)) } "accu ← sp[6]";
            7 ACC7 () { access: Stack(Is(7)) } "accu ← sp[7]";
            8 ACC (n: Depth) { access: Stack(Op(0)) } "accu ← sp[n]";
            9 PUSH () { push_accu: true } "push accu";
            10 PUSHACC0 () { push_accu: true, access: Stack(Is(0)) } "push accu; accu ← sp[0]";
            11 PUSHACC1 () { push_accu: true, access: Stack(Is(1)) } "push accu; accu ← sp[1]";
            12 PUSHACC2 () { push_accu: true, access: Stack(Is(2)) } "push accu; accu ← sp[2]";
            13 PUSHACC3 () { push_accu: true, access: Stack(Is(3)) } "push accu; accu ← sp[3]";
            14 PUSHACC4 () { push_accu: true, access: Stack(Is(4)) } "push accu; accu ← sp[4]";
            15 PUSHACC5 () { push_accu: true, access: Stack(Is(5)) } "push accu; accu ← sp[5]";
            16 PUSHACC6 () { push_accu: true, access: Stack(Is(6)) } "push accu; accu ← sp[6]";
            17 PUSHACC7 () { push_accu: true, access: Stack(Is(7)) } "push accu; accu ← sp[7]";
            18 PUSHACC (n: Depth) { push_accu: true, access: Stack(Op(0)) } "push accu; accu ← sp[n]";
            19 POP (n: Count) { pops: Operand(0) } "pop n words; accu stays";
            20 ASSIGN (n: Depth) { access: Stack(Op(0)) } "sp[n] ← accu; accu ← unit";
            // Environment.
            21 ENVACC1 () { access: Env(Is(1)) } "accu ← field 1 of env";
            22 ENVACC2 () { access: Env(Is(2)) } "accu ← field 2 of env";
            23 ENVACC3 () { access: Env(Is(3)) } "accu ← field 3 of env";
            24 ENVACC4 () { access: Env(Is(4)) } "accu ← field 4 of env";
            25 ENVACC (n: EnvField) { access: Env(Op(0)) } "accu ← field n of env";
            26 PUSHENVACC1 () { push_accu: true, access: Env(Is(1)) } "push accu; accu ← field 1 of env";
            27 PUSHENVACC2 () { push_accu: true, access: Env(Is(2)) } "push accu; accu ← field 2 of env";
            28 PUSHENVACC3 () { push_accu: true, access: Env(Is(3)) } "push accu; accu ← field 3 of env";
            29 PUSHENVACC4 () { push_accu: true, access: Env(Is(4)) } "push accu; accu ← field 4 of env";
            30 PUSHENVACC (n: EnvField) { push_accu: true, access: Env(Op(0)) } "push accu; accu ← field n of env";
            // Calls.
            31 PUSH_RETADDR (ofs: Offset) { flow: PushRetaddr, pushes: Fixed(3) } "push a return frame {ofs, env, extra_args}";
            32 APPLY (n: Size) { flow: Apply, pops: Operand(0), effects: ALLOC | RAISE | CALL } "call the closure in accu with the n arguments above the return frame";
            33 APPLY1 () { pops: Fixed(1), effects: ALLOC | RAISE | CALL } "insert a return frame under 1 argument, call the closure in accu";
            34 APPLY2 () { pops: Fixed(2), effects: ALLOC | RAISE | CALL } "insert a return frame under 2 arguments, call the closure in accu";
            35 APPLY3 () { pops: Fixed(3), effects: ALLOC | RAISE | CALL } "insert a return frame under 3 arguments, call the closure in accu";
            36 APPTERM (n: Size, s: FrameSize) { flow: TailCall { args: Operand(0), frame: 1 }, effects: ALLOC | RAISE | CALL } "tail call: n arguments replace the s-word frame";
            37 APPTERM1 (s: FrameSize) { flow: TailCall { args: Fixed(1), frame: 0 }, effects: ALLOC | RAISE | CALL } "tail call: 1 argument replace the s-word frame";
            38 APPTERM2 (s: FrameSize) { flow: TailCall { args: Fixed(2), frame: 0 }, effects: ALLOC | RAISE | CALL } "tail call: 2 arguments replace the s-word frame";
            39 APPTERM3 (s: FrameSize) { flow: TailCall { args: Fixed(3), frame: 0 }, effects: ALLOC | RAISE | CALL } "tail call: 3 arguments replace the s-word frame";
            40 RETURN (n: FrameSize) { flow: Return, effects: ALLOC | RAISE | CALL } "pop the n-word frame; apply accu to what is left of the arguments, or return";
            41 RESTART () { flow: Restart } "env is a partial application: push its arguments, env ← its closure";
            42 GRAB (n: Count) { flow: Grab, effects: ALLOC } "go on if n extra arguments are there, else return a partial application";
            // Closures.
            43 CLOSURE (v: Count, ofs: Offset) { pops: LessOne(0), flow: Closure, effects: ALLOC } "accu ← closure of the code at ofs over accu and v − 1 stack words";
            44 CLOSUREREC (f: Count, v: Count, ofs: Offsets) { pops: LessOne(1), pushes: Operand(0), flow: ClosureRec, effects: ALLOC } "accu ← block of f closures over accu and v − 1 stack words; push each";
            45 OFFSETCLOSUREM3 () { access: Sibling(Is(-3)) } "accu ← env − 3 words";
            46 OFFSETCLOSURE0 () { access: Sibling(Is(0)) } "accu ← env";
            47 OFFSETCLOSURE3 () { access: Sibling(Is(3)) } "accu ← env + 3 words";
            48 OFFSETCLOSURE (n: Words) { access: Sibling(Op(0)) } "accu ← env + n words";
            49 PUSHOFFSETCLOSUREM3 () { push_accu: true, access: Sibling(Is(-3)) } "push accu; accu ← env − 3 words";
            50 PUSHOFFSETCLOSURE0 () { push_accu: true, access: Sibling(Is(0)) } "push accu; accu ← env";
            51 PUSHOFFSETCLOSURE3 () { push_accu: true, access: Sibling(Is(3)) } "push accu; accu ← env + 3 words";
            52 PUSHOFFSETCLOSURE (n: Words) { push_accu: true, access: Sibling(Op(0)) } "push accu; accu ← env + n words";
            // Globals.
            53 GETGLOBAL (g: Global) {} "accu ← global g";
            54 PUSHGETGLOBAL (g: Global) { push_accu: true } "push accu; accu ← global g";
            55 GETGLOBALFIELD (g: Global, n: Field) {} "accu ← field n of global g";
            56 PUSHGETGLOBALFIELD (g: Global, n: Field) { push_accu: true } "push accu; accu ← field n of global g";
            57 SETGLOBAL (g: Global) {} "global g ← accu; accu ← unit";
            // Blocks.
            58 ATOM0 () {} "accu ← the zero-sized block of tag 0";
            59 ATOM (t: Tag) {} "accu ← the zero-sized block of tag t";
            60 PUSHATOM0 () { push_accu: true } "push accu; accu ← the zero-sized block of tag 0";
            61 PUSHATOM (t: Tag) { push_accu: true } "push accu; accu ← the zero-sized block of tag t";
            62 MAKEBLOCK (n: Size, t: Tag) { pops: LessOne(0), effects: ALLOC } "accu ← block of tag t of accu and n − 1 stack words";
            63 MAKEBLOCK1 (t: Tag) { pops: Fixed(0), effects: ALLOC } "accu ← block of tag t of accu";
            64 MAKEBLOCK2 (t: Tag) { pops: Fixed(1), effects: ALLOC } "accu ← block of tag t of accu and 1 stack word";
            65 MAKEBLOCK3 (t: Tag) { pops: Fixed(2), effects: ALLOC } "accu ← block of tag t of accu and 2 stack words";
            66 MAKEFLOATBLOCK (n: Size) { pops: LessOne(0), effects: ALLOC } "accu ← flat float block of accu and n − 1 stack words";
            67 GETFIELD0 () {} "accu ← field 0 of accu";
            68 GETFIELD1 () {} "accu ← field 1 of accu";
            69 GETFIELD2 () {} "accu ← field 2 of accu";
            70 GETFIELD3 () {} "accu ← field 3 of accu";
            71 GETFIELD (n: Field) {} "accu ← field n of accu";
            72 GETFLOATFIELD (n: Field) { effects: ALLOC } "accu ← boxed copy of float n of accu";
            73 SETFIELD0 () { pops: Fixed(1) } "field 0 of accu ← pop; accu ← unit";
            74 SETFIELD1 () { pops: Fixed(1) } "field 1 of accu ← pop; accu ← unit";
            75 SETFIELD2 () { pops: Fixed(1) } "field 2 of accu ← pop; accu ← unit";
            76 SETFIELD3 () { pops: Fixed(1) } "field 3 of accu ← pop; accu ← unit";
            77 SETFIELD (n: Field) { pops: Fixed(1) } "field n of accu ← pop; accu ← unit";
            78 SETFLOATFIELD (n: Field) { pops: Fixed(1) } "float n of accu ← unboxed pop; accu ← unit";
            79 VECTLENGTH () {} "accu ← number of fields (or floats) of accu";
            80 GETVECTITEM () { pops: Fixed(1) } "accu ← field pop of accu";
            81 SETVECTITEM () { pops: Fixed(2) } "field pop of accu ← pop; accu ← unit";
            82 GETBYTESCHAR () { pops: Fixed(1) } "accu ← byte pop of accu";
            83 SETBYTESCHAR () { pops: Fixed(2) } "byte pop of accu ← pop; accu ← unit";
            // Branches.
            84 BRANCH (ofs: Offset) { flow: Jump } "jump";
            85 BRANCHIF (ofs: Offset) { flow: Branch } "jump if accu is not false";
            86 BRANCHIFNOT (ofs: Offset) { flow: Branch } "jump if accu is false";
            87 SWITCH (s: TableSize, ofs: Offsets) { flow: Switch } "jump by the integer in accu, or by the tag of the block in accu";
            88 BOOLNOT () {} "accu ← not accu";
            // Exceptions.
            89 PUSHTRAP (ofs: Offset) { flow: PushTrap, pushes: Fixed(4) } "push a trap frame with the handler at ofs";
            90 POPTRAP () { flow: PopTrap, pops: Fixed(4), effects: ALLOC | RAISE | CALL } "process pending actions, then drop the trap frame";
            91 RAISE () { flow: Raise, effects: RAISE } "raise accu";
            92 CHECK_SIGNALS () { effects: ALLOC | RAISE | CALL } "process pending actions";
            // Primitives.
            93 C_CALL1 (p: Prim) { pops: Fixed(0), effects: ALLOC | RAISE | CALL } "accu ← primitive p of accu";
            94 C_CALL2 (p: Prim) { pops: Fixed(1), effects: ALLOC | RAISE | CALL } "accu ← primitive p of accu and 1 stack word";
            95 C_CALL3 (p: Prim) { pops: Fixed(2), effects: ALLOC | RAISE | CALL } "accu ← primitive p of accu and 2 stack words";
            96 C_CALL4 (p: Prim) { pops: Fixed(3), effects: ALLOC | RAISE | CALL } "accu ← primitive p of accu and 3 stack words";
            97 C_CALL5 (p: Prim) { pops: Fixed(4), effects: ALLOC | RAISE | CALL } "accu ← primitive p of accu and 4 stack words";
            98 C_CALLN (n: Size, p: Prim) { pops: LessOne(0), effects: ALLOC | RAISE | CALL } "accu ← primitive p of accu and n − 1 stack words";
            // Integers.
            99 CONST0 () {} "accu ← 0";
            100 CONST1 () {} "accu ← 1";
            101 CONST2 () {} "accu ← 2";
            102 CONST3 () {} "accu ← 3";
            103 CONSTINT (n: Int) {} "accu ← n";
            104 PUSHCONST0 () { push_accu: true } "push accu; accu ← 0";
            105 PUSHCONST1 () { push_accu: true } "push accu; accu ← 1";
            106 PUSHCONST2 () { push_accu: true } "push accu; accu ← 2";
            107 PUSHCONST3 () { push_accu: true } "push accu; accu ← 3";
            108 PUSHCONSTINT (n: Int) { push_accu: true } "push accu; accu ← n";
            109 NEGINT () {} "accu ← −accu";
            110 ADDINT () { pops: Fixed(1) } "accu ← accu + pop";
            111 SUBINT () { pops: Fixed(1) } "accu ← accu − pop";
            112 MULINT () { pops: Fixed(1) } "accu ← accu × pop";
            113 DIVINT () { pops: Fixed(1), effects: ALLOC | RAISE } "accu ← accu / pop";
            114 MODINT () { pops: Fixed(1), effects: ALLOC | RAISE } "accu ← accu mod pop";
            115 ANDINT () { pops: Fixed(1) } "accu ← accu and pop";
            116 ORINT () { pops: Fixed(1) } "accu ← accu or pop";
            117 XORINT () { pops: Fixed(1) } "accu ← accu xor pop";
            118 LSLINT () { pops: Fixed(1) } "accu ← accu shifted left by pop";
            119 LSRINT () { pops: Fixed(1) } "accu ← accu shifted right by pop";
            120 ASRINT () { pops: Fixed(1) } "accu ← accu arithmetically shifted right by pop";
            121 EQ () { pops: Fixed(1) } "accu ← accu == pop";
            122 NEQ () { pops: Fixed(1) } "accu ← accu != pop";
            123 LTINT () { pops: Fixed(1) } "accu ← accu < pop";
            124 LEINT () { pops: Fixed(1) } "accu ← accu ≤ pop";
            125 GTINT () { pops: Fixed(1) } "accu ← accu > pop";
            126 GEINT () { pops: Fixed(1) } "accu ← accu ≥ pop";
            127 OFFSETINT (n: Int) {} "accu ← accu + n";
            128 OFFSETREF (n: Int) {} "field 0 of accu += n; accu ← unit";
            129 ISINT () {} "accu ← whether accu is immediate";
            130 GETMETHOD () { access: Stack(Is(0)) } "accu ← method number accu of the object sp[0]";
            131 BEQ (n: Int, ofs: Offset) { flow: Branch } "jump if n = accu";
            132 BNEQ (n: Int, ofs: Offset) { flow: Branch } "jump if n ≠ accu";
            133 BLTINT (n: Int, ofs: Offset) { flow: Branch } "jump if n < accu";
            134 BLEINT (n: Int, ofs: Offset) { flow: Branch } "jump if n ≤ accu";
            135 BGTINT (n: Int, ofs: Offset) { flow: Branch } "jump if n > accu";
            136 BGEINT (n: Int, ofs: Offset) { flow: Branch } "jump if n ≥ accu";
            137 ULTINT () { pops: Fixed(1) } "accu ← accu < pop, unsigned";
            138 UGEINT () { pops: Fixed(1) } "accu ← accu ≥ pop, unsigned";
            139 BULTINT (n: Int, ofs: Offset) { flow: Branch } "jump if n < accu, unsigned";
            140 BUGEINT (n: Int, ofs: Offset) { flow: Branch } "jump if n ≥ accu, unsigned";
            // Methods and the debugger.
            141 GETPUBMET (tag: MethodTag, cache: Cache) { push_accu: true } "push accu (the object); accu ← its public method of that tag";
            142 GETDYNMET () { access: Stack(Is(0)) } "accu ← public method of tag accu of the object sp[0]";
            143 STOP () { flow: Stop } "leave the interpreter with the result accu";
            144 EVENT () { since: Debugger } "written over code by the debugger only";
            145 BREAK () { since: Debugger } "written over code by the debugger only";
            146 RERAISE () { flow: Raise, effects: RAISE } "raise accu and continue its backtrace";
            147 RAISE_NOTRACE () { flow: Raise, effects: RAISE } "raise accu, leaving the backtrace alone";
            148 GETSTRINGCHAR () { pops: Fixed(1) } "accu ← byte pop of accu";
            // Effects, since 5.0.
            149 PERFORM () { effects: ALLOC | RAISE | CALL, since: V5_0 } "perform the effect accu";
            150 RESUME () { effects: ALLOC | RAISE | CALL, since: V5_0, pops: Fixed(3) } "resume the fiber accu";
            151 RESUMETERM (s: FrameSize) { flow: TailCall { args: Fixed(3), frame: 0 }, effects: ALLOC | RAISE | CALL, since: V5_0 } "resume the fiber accu as a tail call";
            152 REPERFORMTERM (s: FrameSize) { flow: TailCall { args: Fixed(2), frame: 0 }, effects: ALLOC | RAISE | CALL, since: V5_0 } "hand the effect accu to the outer handler as a tail call";
            // Internal: written by the patcher of dynamically loaded code, never in files.
            160 CALL_DYN () { flow: Stub, since: Internal } "the stub: jump to the code that the closure env names";
            161 CLOSURE_DYN (v: Count, ofs: Offset) { pops: LessOne(0), flow: Closure, effects: ALLOC, since: Internal } "as CLOSURE, through the stub";
            162 CLOSUREREC_DYN (f: Count, v: Count, ofs: Offsets) { pops: LessOne(1), pushes: Operand(0), flow: ClosureRec, effects: ALLOC, since: Internal } "as CLOSUREREC, through the stub";
            163 GRAB_DYN (n: Count) { flow: Grab, effects: ALLOC, since: Internal } "as GRAB, its partial application goes through the stub";
            164 RESTART_DYN () { flow: Restart, since: Internal } "as RESTART, for the partial applications of GRAB_DYN";
            165 CLOSURE_CARRY (v: Count, ofs: Offset) { pops: LessOne(0), flow: Closure, effects: ALLOC, since: Internal } "as CLOSURE, with a trailing slot that holds the code object";
            166 CLOSUREREC_CARRY (f: Count, v: Count, ofs: Offsets) { pops: LessOne(1), pushes: Operand(0), flow: ClosureRec, effects: ALLOC, since: Internal } "as CLOSUREREC, with a trailing slot that holds the code object";
            167 GETSLOT (s: Slot) { since: Internal } "accu ← slot s of the unit";
            168 PUSHGETSLOT (s: Slot) { push_accu: true, since: Internal } "push accu; accu ← slot s of the unit";
            169 GETSLOTFIELD (s: Slot, n: Field) { since: Internal } "accu ← field n of slot s of the unit";
            170 PUSHGETSLOTFIELD (s: Slot, n: Field) { push_accu: true, since: Internal } "push accu; accu ← field n of slot s of the unit";
            171 SETSLOT (s: Slot) { since: Internal } "slot s of the unit ← accu; accu ← unit";
            172 REVOKED () { flow: Raise, effects: ALLOC | RAISE, since: Internal } "raise Spelter.Revoked: written over every instruction of a unit that is revoked";
            // Internal: what the frames at the base of a fiber point to, never in code.
            173 FIBER_RETURN () { flow: Raise, effects: CALL, since: Snippet } "end the fiber with the result accu";
            174 FIBER_RAISE () { flow: Raise, effects: CALL, since: Snippet } "end the fiber with the exception accu";
        }
    };
}
