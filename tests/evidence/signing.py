"""A certificate authority of the tests, and pictures signed with it."""

from __future__ import annotations

import base64
import datetime
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


class Authority:
    """A root and one signer below it, made anew for each run; `root` is PEM text."""

    def __init__(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        now = datetime.datetime.now(datetime.UTC)

        def certificate(name: str, key: Any, issuer: str, by: Any, leaf: bool) -> Any:
            names = [
                x509.Name(
                    [
                        x509.NameAttribute(NameOID.ORGANIZATION_NAME, text),
                        x509.NameAttribute(NameOID.COMMON_NAME, text),
                    ]
                )
                for text in (name, issuer)
            ]
            usage = dict.fromkeys(
                ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                 "decipher_only"), False,
            )  # fmt: skip
            builder = (
                x509.CertificateBuilder()
                .subject_name(names[0])
                .issuer_name(names[1])
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=30))
                .add_extension(x509.BasicConstraints(ca=not leaf, path_length=None), critical=True)
                .add_extension(
                    x509.KeyUsage(digital_signature=leaf, key_cert_sign=not leaf, crl_sign=not leaf, **usage),
                    critical=True,
                )
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
                )
            )
            if leaf:
                purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
                builder = builder.add_extension(purposes, critical=False)
            return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

        above, below = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = certificate("Test Root", above, "Test Root", above, leaf=False)
        self.root = root.decode()
        self._chain = certificate("Test Camera Maker", below, "Test Root", above, leaf=True) + root
        self._key = below.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def hash_of_signer(self) -> str:
        """Return the SHA-256 of the signer's certificate in base64, as the interim list has it."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        signer = x509.load_pem_x509_certificates(self._chain)[0]
        return base64.b64encode(signer.fingerprint(hashes.SHA256())).decode()

    def list_in(self, folder: Path, name: str) -> Path:
        """Write the root into `folder` under the name of a trust list and return the folder."""
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"Subject\tCN=Test Root\n{self.root}", encoding="utf-8")
        return folder

    def sign(
        self,
        actions: list[dict[str, Any]],
        data: bytes,
        whole: bool = True,
        titled: str = "",
        others: Sequence[dict[str, Any]] = (),
        **ingredients: bytes,
    ) -> bytes:
        """Return the picture `data` with Content Credentials; `ingredients` are JPEGs by relationship (`parentOf`).

        Ingredients are called `titled`, or by their relationship. `others` are further assertions.
        """
        import c2pa

        listed = {"label": "c2pa.actions.v2", "data": {"actions": actions, "allActionsIncluded": whole}}
        manifest = {
            "claim_generator_info": [{"name": "Tests", "version": "1"}],
            "assertions": [listed, *others],
        }
        kind = f"image/{str(Image.open(io.BytesIO(data)).format).lower()}"
        info = c2pa.C2paSignerInfo("es256", self._chain, self._key, None)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(manifest)) as builder:
            for relationship, content in ingredients.items():
                about = {
                    "title": titled or f"{relationship}.jpg",
                    "relationship": relationship,
                    "instance_id": relationship,
                }
                builder.add_ingredient(json.dumps(about), "image/jpeg", io.BytesIO(content))
            signed = io.BytesIO()
            builder.sign(signer, kind, io.BytesIO(data), signed)
        return signed.getvalue()


def action(name: str, source_type: str = "", of: str = "") -> dict[str, Any]:
    """One action of a manifest; `of` is the relationship of the ingredient that it takes."""
    entry: dict[str, Any] = {"action": name}
    entry |= {"digitalSourceType": SOURCE_TYPES + source_type} if source_type else {}
    return entry | ({"parameters": {"ingredientIds": [of]}} if of else {})


def plain_picture(shade: int = 128, kind: str = "JPEG") -> bytes:
    """A grey picture of 64 x 64 without metadata, a JPEG or of another kind."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (shade, shade, shade)).save(stream, kind)
    return stream.getvalue()
