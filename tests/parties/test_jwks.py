"""Public keys and redirect addresses: what registration refuses."""

from base64 import urlsafe_b64encode

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from sample_parties import key, public_jwks

from consent.errors import InvalidRequest
from consent.parties.jwks import check_jwks, check_redirect_uris

EC = ECKey.generate_key("P-256", {"kid": "ec"}, private=True)
RSA = RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"}, private=True)


def base64url(value: bytes) -> str:
    """Without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def public(source: ECKey | RSAKey | OKPKey, **members: object) -> dict[str, object]:
    """The public key with some members changed; None leaves one out."""
    values = source.as_dict(private=False) | members
    return {name: value for name, value in values.items() if value is not None}


def test_keys_of_all_kinds_give_their_thumbprints() -> None:
    """RFC 7638 thumbprints, sorted, so that the record does not depend on the order."""
    keys = [public(EC), public(RSA, alg="PS256", use="sig"), public(ED, alg="EdDSA", key_ops=["verify"])]
    found = check_jwks({"keys": keys})
    assert found == sorted(k.thumbprint() for k in (EC, RSA, ED))
    assert check_jwks({"keys": keys[::-1]}) == found


@pytest.mark.parametrize("source", [EC, RSA, ED], ids=["EC", "RSA", "OKP"])
def test_private_key_is_refused_with_a_code_of_its_own(source) -> None:
    """Whoever sends one must replace it; and the message repeats nothing of it."""
    private = source.as_dict(private=True)
    with pytest.raises(InvalidRequest) as caught:
        check_jwks({"keys": [private]})
    assert caught.value.code == "jwks.private"
    assert private["d"] not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        public(RSA, n=base64url(bytes(128 * [0xC1]))),
        public(RSA, n=base64url(bytes(256 * [0xC0]))),
        public(RSA, n=base64url(bytes(1025 * [0xC1]))),
        public(RSA, n="A"),
        public(ECKey.generate_key("P-384", {"kid": "p384"}, private=True)),
        public(OKPKey.generate_key("X25519", {"kid": "x"}, private=True)),
        public(RSA, e="AQ"),
        public(RSA, e="Aw"),
        public(RSA, alg="RS256"),
        public(RSA, alg="ES256"),
        public(EC, alg="none"),
        public(EC, alg="HS256"),
        public(EC, alg=None, use="enc"),
        public(EC, key_ops=["sign"]),
        public(EC, kid=None),
        public(EC, kid=""),
        public(EC, kid="a b"),
        public(EC, kid=5),
        public(EC, kid=["ec"]),
        public(EC, x=EC.as_dict(private=False)["y"]),
        public(EC, x="AAAA"),
        public(EC, x="!!"),
        public(EC, x=None),
        public(EC, crv=None),
        public(EC, kty="EC "),
        public(EC, kty=["EC"]),
        public(EC, x5u="https://keys.example/"),
        public(EC, jku="https://keys.example/"),
        public(ED, x="AAAA"),
        {"kty": "oct", "kid": "o", "k": "c2VjcmV0"},
        {"kty": "oct", "kid": "o"},
        "key",
        None,
        {},
    ],
)
def test_unfit_key_is_refused(bad) -> None:
    """Weak, malformed, of another algorithm, or with members that could lead a verifier elsewhere."""
    with pytest.raises(InvalidRequest):
        check_jwks({"keys": [bad]})


@pytest.mark.parametrize(
    "bad",
    [
        {"keys": []},
        {"keys": {}},
        {"keys": [public(EC)], "more": 1},
        {},
        [],
        None,
        "",
        {"keys": [public(EC), public(EC)]},
        {"keys": [public(EC), public(RSA, kid="ec")]},
        {"keys": [public(EC), public(EC, kid="other")]},
        {"keys": [public_jwks(f"n{n}")["keys"][0] for n in range(9)]},
    ],
)
def test_unfit_set_is_refused(bad) -> None:
    """Empty, too many, two keys with one kid, one key with two kids, members beside keys."""
    with pytest.raises(InvalidRequest):
        check_jwks(bad)


@pytest.mark.parametrize(
    "uri",
    [
        "https://bank.example/cb",
        "https://bank.example",
        "https://bank.example:8443/cb?tenant=1",
        "https://bank.example/%E8%B7%AF",
        "http://127.0.0.1:5000/cb",
        "http://localhost/cb",
        "http://[::1]:5000/cb",
        "https://192.0.2.7/cb",
    ],
)
def test_plain_redirect_address_is_accepted_unchanged(uri: str) -> None:
    """Matching is exact, so registration changes nothing."""
    assert check_redirect_uris([uri]) == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        "http://bank.example/cb",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "ftp://bank.example/",
        "bank://cb",
        "//bank.example/cb",
        "/cb",
        "",
        "https://",
        "https:///cb",
        "https:bank.example/cb",
        "https:/bank.example/cb",
        "https://bank.example/cb#",
        "https://bank.example/cb#f",
        "https://user@bank.example/cb",
        "https://user:pw@bank.example/cb",
        "https://@bank.example/cb",
        "https://bank.example@evil.example/cb",
        "https://bank.example\\@evil.example/cb",
        "https://bank.example/a/../cb",
        "https://bank.example/a/./cb",
        "https://bank.example/%2e%2e/cb",
        "https://bank.example/a%2F..%2Fcb",
        "https://BANK.example/cb",
        "HTTPS://bank.example/cb",
        "https://bank.example./cb",
        "https://-bank.example/cb",
        "https://bank..example/cb",
        "https://*.example/cb",
        "https://bank.example:/cb",
        "https://bank.example:0/cb",
        "https://bank.example:99999/cb",
        "https://bank.example:443x/cb",
        "https://bank.example:+443/cb",
        "https://bank.example/cb?code=1",
        "https://bank.example/cb?x=1&state=2",
        "https://bank.example/cb?iss",
        "https://bank.example/c b",
        "https://bank.example/cb\n",
        "https://bank.example/cb\0",
        'https://bank.example/"',
        "https://bänk.example/cb",
        "https://bank。example/cb",
        "https://[::1/cb",
        "https://[fe80::1%25eth0]/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://2130706433/cb",
        "https://bank.example/" + "a" * 2000,
    ],
)
def test_ambiguous_redirect_address_is_refused(uri: str) -> None:
    """Other schemes, users, fragments, dot segments, OAuth's own parameters, and every spelling that two parsers read differently."""
    with pytest.raises(InvalidRequest) as caught:
        check_redirect_uris([uri])
    assert caught.value.code == "redirect_uri.invalid"


def test_repeated_and_too_many_addresses_are_refused() -> None:
    """Ten at most, each once."""
    for uris in (["https://a.example/"] * 2, [f"https://a.example/{n}" for n in range(11)]):
        with pytest.raises(InvalidRequest):
            check_redirect_uris(uris)


def test_sample_key_is_public_only() -> None:
    """The samples of the other tests register public halves."""
    assert "d" not in public_jwks("k1")["keys"][0]
    assert "d" in key("k1").as_dict(private=True)
