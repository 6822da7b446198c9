"""The emulator of a GPU's threads, with kernels written by hand: it computes what PTX says, and sees what is wrong."""

import struct

import numpy as np
import pytest
import torch

from tests.ops.ptx.machine import Machine, run
from tests.ops.ptx.parse import parse

THREADS = 64
ENTRY = """
.visible .entry kernel(.param .u64 kernel_param_0, .param .u32 kernel_param_1, .param .u32 kernel_param_2)
.reqntid 64
{
    .reg .pred %p<9>;
    .reg .b32 %r<99>;
    .reg .b64 %rd<9>;
    ld.param.b64 %rd1, [kernel_param_0];
    ld.param.b32 %r1, [kernel_param_1];
    ld.param.b32 %r2, [kernel_param_2];
    mov.u32 %r3, %tid.x;
    mov.u32 %r4, %ctaid.x;
    mad.lo.s32 %r5, %r4, 64, %r3;
    mad.wide.u32 %rd2, %r5, 4, %rd1;  // the word of each thread
    shl.b32 %r6, %r3, 2;              // and that in shared memory
BODY
    ret;
}
"""


def launch(body: str, a: int = 0, b: int = 0, programs: int = 1) -> tuple[torch.Tensor, Machine]:
    """What the threads stored, each into a word of its own, and the launch."""
    words = torch.zeros(programs * THREADS, dtype=torch.int32)
    machine = run(parse(ENTRY.replace("BODY", body)), programs, [words, a, b], shared_size=4 * THREADS)
    return words, machine


def bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


NAN = float("nan")


@pytest.mark.parametrize(
    ("instruction", "a", "b", "expected"),
    [
        ("add.s32 %r9, %r1, %r2", 2**31 - 1, 1, 2**31),
        ("sub.s32 %r9, %r1, %r2", 1, 2, 2**32 - 1),
        ("mul.lo.s32 %r9, %r1, %r2", 2**16 + 1, 2**16, 2**16),
        ("mul.hi.u32 %r9, %r1, %r2", 2**31, 6, 3),
        ("div.s32 %r9, %r1, %r2", -7, 2, -3),
        ("rem.s32 %r9, %r1, %r2", -7, 2, -1),
        ("min.s32 %r9, %r1, %r2", -1, 1, -1),
        ("min.u32 %r9, %r1, %r2", -1, 1, 1),
        ("shl.b32 %r9, %r1, %r2", 3, 31, 2**31),
        ("shl.b32 %r9, %r1, %r2", 3, 32, 0),
        ("shr.u32 %r9, %r1, %r2", -1, 40, 0),
        ("shr.s32 %r9, %r1, %r2", -8, 1, -4),
        ("shr.s32 %r9, %r1, %r2", -8, 40, -1),
        ("bfe.u32 %r9, %r1, 4, 8", 0xABCD, 0, 0xBC),
        ("bfe.s32 %r9, %r1, 4, 8", 0xABCD, 0, 0xBC - 256),
        ("prmt.b32 %r9, %r1, %r2, 0x7701U", 0x44332211, 0x88776655, 0x88881122),
        ("prmt.b32 %r9, %r1, %r2, 0x000FU", 0x44332211, 0x88776655, 0x111111FF),
        ("not.b32 %r9, %r1", 1, 0, -2),
        ("cvt.rn.f32.s32 %r9, %r1", -3, 0, bits(-3.0)),
        ("cvt.rzi.s32.f32 %r9, %r1", bits(-3.7), 0, -3),
        ("cvt.rzi.s32.f32 %r9, %r1", bits(1e30), 0, 2**31 - 1),
        ("cvt.rmi.f32.f32 %r9, %r1", bits(-3.2), 0, bits(-4.0)),
        ("fma.rn.f32 %r9, %r1, %r1, 0fBF800000", bits(1 + 2**-23), 0, bits(2**-22 + 2**-46)),
        ("mul.ftz.f32 %r9, %r1, %r2", bits(1e-38), bits(0.5), 0),
        ("mul.f32 %r9, %r1, %r2", bits(2.0**-126), bits(0.5), 1 << 22),
        ("max.f32 %r9, %r1, %r2", bits(NAN), bits(2.0), bits(2.0)),
        ("max.NaN.f32 %r9, %r1, %r2", bits(NAN), bits(2.0), bits(NAN)),
        ("ex2.approx.f32 %r9, %r1", bits(-5.0), 0, bits(2.0**-5)),
        ("sqrt.rn.f32 %r9, %r1", bits(9.0), 0, bits(3.0)),
        ("setp.lt.f32 %p1, %r1, %r2;\n selp.b32 %r9, 1, 0, %p1", bits(NAN), bits(2.0), 0),
        ("setp.ltu.f32 %p1, %r1, %r2;\n selp.b32 %r9, 1, 0, %p1", bits(NAN), bits(2.0), 1),
        ("setp.ne.f32 %p1, %r1, %r2;\n selp.b32 %r9, 1, 0, %p1", bits(NAN), bits(NAN), 0),
        ("setp.neu.f32 %p1, %r1, %r2;\n selp.b32 %r9, 1, 0, %p1", bits(NAN), bits(NAN), 1),
        ("setp.nan.f32 %p1, %r1, %r2;\n selp.b32 %r9, 1, 0, %p1", bits(NAN), bits(2.0), 1),
        ("setp.lt.s32 %p1, %r1, %r2;\n selp.b32 %r9, 1, 0, !%p1", -1, 2, 0),
        ("mov.b32 %r9, 5;\n setp.eq.s32 %p1, %r1, %r2;\n @!%p1 mov.b32 %r9, 6", 1, 2, 6),
        ("mul.wide.s32 %rd3, %r1, %r2;\n { .reg .b32 low; mov.b64 {low, %r9}, %rd3; }", -1, 2, -1),
        ("mov.b64 %rd3, {%r1, %r2};\n shr.u64 %rd3, %rd3, 16;\n cvt.u32.u64 %r9, %rd3", 0x11112222, 0x3333, 0x33331111),
    ],
)
def test_instructions(instruction: str, a: int, b: int, expected: int):
    words, _ = launch(f"{instruction};\n st.global.b32 [%rd2], %r9;", a % 2**32, b % 2**32)
    assert [value % 2**32 for value in words.tolist()] == [expected % 2**32] * THREADS


def test_an_approximation_is_up_to_two_units_off():
    words, _ = launch(
        "cvt.rn.f32.u32 %r8, %r3;\n add.f32 %r8, %r8, 0f3E99999A;\n div.full.f32 %r9, %r1, %r8;\n"
        "st.global.b32 [%rd2], %r9;",
        bits(1.0),
    )
    found, exact = (
        words.view(torch.float32).numpy(),
        np.float32(1) / (np.arange(64, dtype=np.float32) + np.float32(0.3)),
    )
    off = np.abs(found.view(np.int32) - exact.view(np.int32))
    assert off.max() == 2
    assert (off == 0).any()


COUNT_UP = """
    mov.b32 %r9, 0;
    mov.b32 %r10, 0;
$LOOP:
    add.s32 %r9, %r9, %r10;
    add.s32 %r10, %r10, 1;
    setp.le.s32 %p1, %r10, %r3;
    @%p1 bra $LOOP;
    bar.sync 0;
    st.global.b32 [%rd2], %r9;
"""


def test_threads_part_and_meet_again():
    words, machine = launch(COUNT_UP, programs=2)
    assert words.tolist() == [thread * (thread + 1) // 2 for thread in range(THREADS)] * 2
    assert machine.counts["bar"] == 1


def test_a_barrier_that_some_threads_never_reach_is_an_error():
    body = "setp.lt.s32 %p1, %r3, 32;\n @%p1 bra $END;\n bar.sync 0;\n$END:"
    with pytest.raises(RuntimeError, match="wait for others that never come: bar"):
        launch(body)


def test_a_barrier_waits_for_threads_that_come_another_way():
    body = """
    mov.b32 %r7, global_smem;
    setp.lt.s32 %p1, %r3, 32;
    @%p1 bra $OTHER;
    st.shared.b32 [%r6], %r3;
    bar.sync 0;
    bra.uni $END;
$OTHER:
    bar.sync 0;
    ld.shared.b32 %r9, [%r6+128];
    st.global.b32 [%rd2], %r9;
$END:
    """
    words, machine = launch(body)
    assert words.tolist() == [*range(32, 64), *[0] * 32]
    assert not machine.hazards


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        ("shfl.sync.bfly.b32 %r9, %r3, 5, 31, -1", lambda lane: lane ^ 5),
        ("shfl.sync.idx.b32 %r9, %r3, 7, 31, -1", lambda lane: lane // 32 * 32 + 7),
        ("redux.sync.max.s32 %r9, %r3, -1", lambda lane: lane // 32 * 32 + 31),
    ],
)
def test_threads_of_a_warp_exchange_numbers(exchange: str, expected):
    words, _ = launch(f"{exchange};\n st.global.b32 [%rd2], %r9;")
    assert words.tolist() == [expected(lane) for lane in range(THREADS)]


def test_a_part_of_a_warp_exchanges_nothing():
    body = "setp.lt.s32 %p1, %r3, 5;\n @%p1 bra $END;\n shfl.sync.bfly.b32 %r9, %r3, 1, 31, -1;\n$END:"
    with pytest.raises(RuntimeError, match="wait for others that never come: shfl"):
        launch(body)


def test_a_warp_waits_for_its_threads_that_come_from_further_on():
    body = """
    setp.lt.s32 %p1, %r3, 40;
    @%p1 bra $SLOW;
    mov.b32 %r9, 1;
$JOIN:
    shfl.sync.bfly.b32 %r10, %r9, 16, 31, -1;
    add.s32 %r9, %r9, %r10;
    st.global.b32 [%rd2], %r9;
    ret;
$SLOW:
    mov.b32 %r9, 10;
    bra.uni $JOIN;
    """
    words, _ = launch(body)
    lanes = [10 if lane < 40 else 1 for lane in range(THREADS)]
    assert words.tolist() == [value + lanes[lane ^ 16] for lane, value in enumerate(lanes)]


def test_matrices_of_a_warp_are_rows_of_sixteen_bytes():
    # Each thread's word, and it takes the one that lies where its matrix, its row and its place in it say.
    body = """
    and.b32 %r7, %r3, 31;
    shl.b32 %r8, %r7, 4;
    st.shared.b32 [%r6], %r3;
    bar.sync 0;
    and.b32 %r8, %r8, 127;
    ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r9}, [%r8];
    st.global.b32 [%rd2], %r9;
    """
    words, machine = launch(body)
    assert words.tolist() == [*range(32)] * 2
    assert not machine.hazards


STORE, BARRIER, LOAD_NEXT = (
    "st.shared.b32 [%r6], %r3;",
    "bar.sync 0;",
    "xor.b32 %r7, %r6, 4;\n ld.shared.b32 %r9, [%r7];",
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([STORE, BARRIER, LOAD_NEXT], []),
        ([STORE, LOAD_NEXT], ["shared: load after a store, without a barrier"]),
        ([STORE, BARRIER, LOAD_NEXT, STORE.replace("%r3", "%r4")], ["shared: store after a load, without a barrier"]),
        ([STORE, BARRIER, LOAD_NEXT, BARRIER, STORE.replace("%r3", "%r4")], []),
        ([STORE, LOAD_NEXT.replace("4;", "0;")], []),  # each its own
        (
            [STORE, "xor.b32 %r7, %r6, 4;", STORE.replace("%r6", "%r7")],
            ["shared: store after a store, without a barrier"],
        ),
        (["st.shared.b32 [0], %r4;"], []),  # all the same
        (["mov.b32 %r7, 0;", "st.shared.b32 [%r7], %r3;"], ["shared: several threads store different values at once"]),
        (["st.global.b32 [%rd1], %r4;"], ["global: several threads store different values at once"]),
        (
            ["setp.eq.s32 %p1, %r4, 0;", "@%p1 st.global.b32 [%rd2], %r3;", "@!%p1 ld.global.b32 %r9, [%rd2+-256];"],
            ["global: load after a store of another program"],
        ),
        (
            ["setp.eq.s32 %p1, %r4, 0;", "@%p1 ld.global.b32 %r9, [%rd2+256];", "@!%p1 st.global.b32 [%rd2], %r3;"],
            ["global: store after a load of another program"],
        ),
    ],
)
def test_what_needs_a_barrier_and_has_none_is_found(body: list[str], expected: list[str]):
    body = [line.replace("[0]", "[global_smem]") for line in body]
    _, machine = launch("\n".join(body), programs=2)
    assert [hazard.split(":", 2)[0] + ":" + hazard.split(":", 2)[1] for hazard in machine.hazards] == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("ld.global.b32 %r9, [%rd2+4];", "global memory: outside every array"),
        ("st.global.b32 [%rd1+-4], %r3;", "global memory: outside every array"),
        ("st.shared.b32 [%r6+4], %r3;", "outside shared memory"),
        ("ld.global.v2.b32 {%r9, %r10}, [%rd2];", "not at a multiple of 8 bytes"),
    ],
)
def test_an_access_outside_every_array_is_an_error(body: str, message: str):
    with pytest.raises(IndexError, match=message):
        launch(body)


def test_nothing_is_known_of_what_shared_memory_holds_at_first():
    words, _ = launch("ld.shared.b32 %r9, [%r6];\n st.global.b32 [%rd2], %r9;")
    assert words.view(torch.float32).isnan().all()


@pytest.mark.parametrize(
    "instruction",
    [
        "frob.b32 %r9, %r1",
        "setp.eq.and.s32 %p1, %r1, %r2, %p2",
        "lop3.b32 %r9, %r1",
        "bar.warp.sync -1",
        "bar.sync 1",
        "bar.sync 0, 32",
    ],
)
def test_an_instruction_that_is_not_known_is_refused(instruction: str):
    with pytest.raises(NotImplementedError, match=instruction.split()[0]):
        launch(f"{instruction};")
