"""Certificates made for a test: an authority, servers and clients that it signs."""

import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = datetime.timedelta(days=1)


class Authority:
    """Writes `NAME.pem` and `NAME.key` into a folder; its own certificate is `file`."""

    def __init__(self, folder, name="authority"):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self._build(self.name, self.key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        ).sign(self.key, hashes.SHA256())  # fmt: skip
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _build(self, subject, key):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - _DAY).not_valid_after(now + _DAY)
        )  # fmt: skip

    def issue(self, name, stem=None, password=None):
        """A certificate for 127.0.0.1 in `stem`.pem and .key, replaced by rename; its serial number and both paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._build(subject, key).add_extension(addresses, critical=False).sign(self.key, hashes.SHA256())
        hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
        certificate_file, key_file = (self.folder / f"{stem or name}{end}" for end in (".pem", ".key"))
        for path, data in ((certificate_file, made.public_bytes(serialization.Encoding.PEM)), (key_file, private)):
            partial = path.with_suffix(".partial")
            partial.write_bytes(data)
            partial.replace(path)
        return made.serial_number, certificate_file, key_file

    def context(self, cert=None):
        """What a client believes, and shows."""
        context = ssl.create_default_context(cafile=self.file)
        if cert is not None:
            context.load_cert_chain(*cert)
        return context
