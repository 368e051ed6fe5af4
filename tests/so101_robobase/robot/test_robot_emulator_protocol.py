"""Packets of the emulated servo bus: bytes to packets and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from so101_robobase.robot.emulator.protocol import (
    Instruction,
    Packet,
    Parser,
    encode,
    to_sign_magnitude,
)
from so101_robobase.robot.real.servo_registers import signed

packets = st.builds(
    Packet, st.integers(0, 0xFE), st.integers(0, 0xFF), st.binary(max_size=40).map(bytes)
)


def test_bytes_of_the_manual_s_examples():
    # Feetech's protocol manual: read two bytes at 0x38 of servo 1, and the answer 2048.
    assert encode(Packet(1, Instruction.READ, b"\x38\x02")).hex(" ") == "ff ff 01 04 02 38 02 be"
    assert encode(Packet(1, 0, b"\x00\x08")).hex(" ") == "ff ff 01 04 00 00 08 f2"


@given(st.lists(packets, max_size=5), st.data())
def test_any_pieces_of_a_stream_give_its_packets(sent, data):
    stream = b"".join(encode(packet) for packet in sent)
    parser, received = Parser(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        received += parser.feed(stream[:cut])
        stream = stream[cut:]
    assert received == sent
    assert parser.rejected == 0
    assert not parser.waiting


@given(st.binary(max_size=60), packets)
def test_a_packet_is_found_after_noise(noise, packet):
    parser = Parser()
    received = parser.feed(noise + encode(packet))
    while parser.waiting:  # noise may look like the beginning of a longer packet
        received += parser.skip()
    assert packet in received


def test_a_wrong_checksum_hides_only_its_own_packet():
    good = Packet(2, Instruction.PING)
    bad = bytearray(encode(Packet(1, Instruction.WRITE, b"\x28\x01")))
    bad[-1] ^= 0x10
    parser = Parser()
    assert parser.feed(bytes(bad) + encode(good)) == [good]
    assert parser.rejected == 1


def test_a_cut_packet_does_not_swallow_the_next():
    cut, whole = encode(Packet(1, Instruction.READ, b"\x38\x02"))[:5], Packet(3, Instruction.PING)
    parser = Parser()
    assert parser.feed(cut) == []
    assert parser.feed(encode(whole)) + parser.skip() == [whole]


@given(st.sampled_from([10, 11, 15]), st.data())
def test_signs_survive(sign_bit, data):
    value = data.draw(st.integers(-(1 << sign_bit) + 1, (1 << sign_bit) - 1))
    assert signed(to_sign_magnitude(value, sign_bit), sign_bit) == value


def test_a_sign_is_a_bit():
    assert to_sign_magnitude(-5, 11) == 2048 + 5
    with pytest.raises(ValueError, match="sign bit 11"):
        to_sign_magnitude(2048, 11)


def test_lerobot_encodes_signs_alike():
    utils = pytest.importorskip("lerobot.motors.encoding_utils")
    for value in (-2047, -1, 0, 1, 2047):
        assert to_sign_magnitude(value, 11) == utils.encode_sign_magnitude(value, 11)
        assert signed(to_sign_magnitude(value, 11), 11) == value
