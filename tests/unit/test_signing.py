"""The signing key: made once, kept from others, and what it tells apart."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retuned.errors import ConfigError
from retuned.registry.signing import Forged, SigningKey, UnknownKey, drop_older, rotate

KEY = SigningKey(bytes(range(32)))


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    made = SigningKey.load_or_make(path)
    assert SigningKey.load_or_make(path) == made
    assert len(made.secret) == 32
    assert bytes.fromhex(path.read_text()) == made.secret
    assert made.ids == (made.id,)


def test_only_the_owner_may_read_a_new_key_and_no_draft_stays(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    SigningKey.load_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_those_who_make_a_key_at_the_same_time_get_the_same(tmp_path: Path) -> None:
    together = Barrier(4)

    def make(path: Path) -> SigningKey:
        together.wait(10)
        return SigningKey.load_or_make(path)

    with ThreadPoolExecutor(4) as pool:
        for attempt in range(50):
            keys = set(pool.map(make, [tmp_path / f"{attempt}.key"] * 4))
            assert len(keys) == 1


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    SigningKey.load_or_make(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        SigningKey.load_or_make(path)


@pytest.mark.parametrize("text", ["", "no key", "abcd", "ab" * 33])
def test_a_damaged_key_is_refused_and_not_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "signing.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is no signing key"):
        SigningKey.load_or_make(path)
    assert path.read_text() == text


def test_a_signature_is_hmac_sha_256() -> None:
    # RFC 4231, test case 1; a key of other length than ours is only made by hand.
    key = SigningKey(b"\x0b" * 20)
    expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    assert key.sign(b"Hi There") == f"{key.id}:{expected}"


@given(st.binary(), st.binary())
def test_a_signature_fits_its_own_message_only(message: bytes, other: bytes) -> None:
    signature = KEY.sign(message)
    KEY.verify(message, signature)
    if other != message:
        with pytest.raises(Forged, match="does not fit"):
            KEY.verify(other, signature)


@given(st.text())
def test_any_other_text_is_no_signature(text: str) -> None:
    with pytest.raises(Forged):
        KEY.verify(b"message", text)


def test_another_key_does_not_fit() -> None:
    with pytest.raises(Forged):
        SigningKey(bytes(32)).verify(b"message", KEY.sign(b"message"))


def test_a_key_does_not_show_itself() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert "secret" not in repr(KEY)
    assert KEY.secret.hex() not in KEY.id


@given(st.binary(), st.text(), st.text())
def test_what_is_sealed_as_one_kind_is_no_other(text: bytes, kind: str, other: str) -> None:
    sealed = KEY.seal(f"a {kind}".replace("\n", " "), text)
    assert KEY.unsealed(f"a {kind}".replace("\n", " "), sealed) == text
    with pytest.raises(Forged):
        KEY.unsealed(f"b {other}", sealed)


# Several keys


def test_a_new_key_signs_and_the_old_ones_still_verify(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    first = SigningKey.load_or_make(path)
    second = rotate(path)
    third = rotate(path)
    assert SigningKey.load_or_make(path) == third
    assert third.ids == (third.id, second.id, first.id)
    assert len(set(third.ids)) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    for key in (first, second, third):
        third.verify(b"message", key.sign(b"message"))
    with pytest.raises(UnknownKey, match=f"another key .{third.id}"):
        second.verify(b"message", third.sign(b"message"))


def test_a_signature_is_verified_by_the_key_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    first = SigningKey.load_or_make(path)
    both = rotate(path)
    named = f"{both.id}:{first.sign(b'message').partition(':')[2]}"
    with pytest.raises(Forged, match="was changed"):
        both.verify(b"message", named)


def test_old_keys_that_are_dropped_verify_no_more(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    first = SigningKey.load_or_make(path)
    newest = rotate(path)
    assert drop_older(path).ids == (newest.id,)
    with pytest.raises(UnknownKey):
        SigningKey.load_or_make(path).verify(b"message", first.sign(b"message"))


def test_only_a_seal_of_the_newest_key_is_newest(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    first = SigningKey.load_or_make(path)
    both = rotate(path)
    assert both.is_newest(both.seal("kind", b"text"))
    assert not both.is_newest(first.seal("kind", b"text"))


def test_a_key_that_is_not_there_is_not_rotated(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rotate(tmp_path / "signing.key")
    assert list(tmp_path.iterdir()) == []
