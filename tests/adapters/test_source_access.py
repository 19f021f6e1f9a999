"""How metric sources let us in: log-in from the environment, certificates that are checked."""

import datetime as dt
import ipaddress
import ssl
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from batches.metric_sources import MetricUnavailable, Selector, SourceSpec, build
from tests.adapters.metric_servers import TOKEN, MetricPage
from tests.adapters.open_here import open_here

REQUESTS = Selector(metric="requests_total")


def certificate(name, *, signer=None):
    """Return a certificate and its key, signed by the signer or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    authority, authority_key = signer or (None, key)
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    return made, key


def written(folder, name, made, key):
    """Write a certificate with its key as PEM; return both paths."""
    cert, secret = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(cert), str(secret)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority = certificate("Test authority")
    return {
        "ca": written(folder, "ca", *authority),
        "server": written(folder, "server", *certificate("127.0.0.1", signer=authority)),
        "client": written(folder, "client", *certificate("console", signer=authority)),
    }


@pytest.fixture
def secure_page(request, files):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files["server"])
    if getattr(request, "param", "") == "wants a certificate":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files["ca"][0])
    with MetricPage(context) as page:
        page.text = 'requests_total{tenant="acorn"} 1\n'
        yield page


async def answer_of(url, *, environ=None, rules=open_here, **options):
    source = build(
        SourceSpec("s", "prometheus_text", {"url": url, **options}),
        environ=environ or {},
        rules=rules,
    )
    try:
        return (await source.read([REQUESTS], timeout=5))[REQUESTS]
    finally:
        await source.close()


async def refusal_of(url, **more):
    with pytest.raises(MetricUnavailable) as unavailable:
        await answer_of(url, **more)
    assert unavailable.value.cause == "unauthorized", unavailable.value
    return unavailable.value.sentence


@pytest.mark.parametrize(
    ("path", "auth"),
    [
        ("basic", {"basic": {"username": "olga", "password": "${PW}"}}),
        ("secured", {"bearer": "${PW}"}),
    ],
)
async def test_the_log_in_is_filled_in_from_the_environment(path, auth):
    with MetricPage() as page:
        assert await answer_of(f"{page.url}/{path}", auth=auth, environ={"PW": TOKEN}) == []
        assert "PW" in await refusal_of(f"{page.url}/{path}", auth=auth)
        told = await refusal_of(f"{page.url}/{path}", auth=auth, environ={"PW": "wrong-password"})
        assert "HTTP 401" in told
        assert "wrong-password" not in told


async def test_a_variable_with_a_line_break_never_becomes_a_header():
    with MetricPage() as page:
        told = await refusal_of(
            f"{page.url}/secured", auth={"bearer": "${PW}"}, environ={"PW": "a\r\nX-Evil: 1"}
        )
    assert told == "a variable for this source holds a line break"


async def test_a_certificate_of_a_stranger_is_not_trusted(secure_page):
    assert "tls.ca" in await refusal_of(f"{secure_page.url}/metrics")


async def test_a_certificate_of_the_named_authority_is_trusted(secure_page, files):
    found = await answer_of(f"{secure_page.url}/metrics", tls={"ca": files["ca"][0]})
    assert [one.value for one in found] == [1]


@pytest.mark.parametrize("secure_page", ["wants a certificate"], indirect=True)
async def test_we_show_our_own_certificate_where_one_is_wanted(secure_page, files):
    cert, key = files["client"]
    tls = {"ca": files["ca"][0], "cert": cert, "key": key}
    assert len(await answer_of(f"{secure_page.url}/metrics", tls=tls)) == 1
    with pytest.raises(MetricUnavailable):
        await answer_of(f"{secure_page.url}/metrics", tls={"ca": files["ca"][0]})


async def test_the_installations_own_authority_is_trusted_by_every_source(secure_page, files):
    url = f"{secure_page.url}/metrics"
    own = replace(open_here(), ca_file=files["ca"][0])
    assert len(await answer_of(url, rules=lambda: own)) == 1
    gone = replace(own, ca_file="/no/such/ca.pem")
    assert "/no/such/ca.pem cannot be used" in await refusal_of(url, rules=lambda: gone)


async def test_a_file_that_is_not_there_is_named_as_the_trouble(secure_page):
    told = await refusal_of(f"{secure_page.url}/metrics", tls={"ca": "/no/such/ca.pem"})
    assert "check ca, cert and key" in told
