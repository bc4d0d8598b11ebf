"""An issuer of tokens with real keys of every kind, and a server that publishes them."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = 1_800_000_000.0
ISSUER, AUDIENCE = "https://login.example", "penstock"
PRIVATE = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
    "other": rsa.generate_private_key(65537, 2048),
}
ALGORITHM = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA", "other": "RS256"}
_MAKERS = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def published(*kids, **changes):
    """The key set's bytes; each key is named by its kid, `changes` alter every one."""
    keys = []
    for kid in kids:
        key = json.loads(_MAKERS[ALGORITHM[kid]].to_jwk(PRIVATE[kid].public_key()))
        keys.append({**key, "kid": kid, "use": "sig", "alg": ALGORITHM[kid], **changes})
    return json.dumps({"keys": keys}).encode()


def claims(**changes):
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ana", "exp": NOW + 600, "iat": NOW, "roles": ["ml-admins"]}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def token(kid="rsa", header=None, algorithm=None, key=None, **changes):
    """A token signed by the key of that name; `...` takes a claim away."""
    return jwt.encode(
        claims(**changes), key or PRIVATE[kid], algorithm or ALGORITHM[kid], headers={"kid": kid, **(header or {})}
    )


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assembled(header, payload, signature=b""):
    """A token made by hand, as no library would."""
    return ".".join(base64url(part if isinstance(part, bytes) else json.dumps(part).encode())
                    for part in (header, payload, signature))  # fmt: skip


def signed(payload, **header):
    """A well signed token that the library would refuse to make."""
    header = {name: value for name, value in {"alg": "EdDSA", "kid": "ed", **header}.items() if value is not ...}
    text = assembled(header, payload).rstrip(".")
    return f"{text}.{base64url(PRIVATE['ed'].sign(text.encode()))}"


class KeyServer:
    """Publishes `data` at `address`; counts who asks. `status` and `location` make it misbehave."""

    def __init__(self, data):
        self.data, self.status, self.asked, self.location = data, 200, 0, None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("location", outer.location)
                self.send_header("content-length", str(len(outer.data)))
                self.end_headers()
                self.wfile.write(outer.data)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
