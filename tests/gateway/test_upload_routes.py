"""Uploads are streamed, bounded, and trust nothing in the envelope."""

import json

import pytest

from tests.gateway.world import UPLOAD_BYTES_MAX, Answer, World

BOUNDARY = "b0undary"
KIND = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]


def part(content: bytes, name: str = "log.csv", field: str = "file") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"'
    return head.encode() + b"\r\nContent-Type: text/csv\r\n\r\n" + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def upload(world: World, body: bytes) -> Answer:
    return world.ask("POST", "/api/files", body, token=world.ada, headers=KIND)


def test_a_file_arrives_whole_and_in_pieces(world: World) -> None:
    content = b"a,b\n" + b"1,2\n" * 500_000
    answer = upload(world, part(content) + END)
    assert answer.status == 201
    assert (answer.json["name"], answer.json["bytes"]) == ("log.csv", len(content))
    assert world.files.largest_chunk < len(content) // 4
    file_id = answer.json["file_id"]
    listed = world.ask("GET", "/api/files", token=world.ada).json["files"]
    assert file_id in {file["file_id"] for file in listed}
    assert world.ask("GET", f"/api/files/{file_id}", token=world.ada).json["bytes"] == len(content)
    assert world.ask("GET", f"/api/files/{file_id}", token=world.bob).code == "not_found"
    assert world.ask("DELETE", f"/api/files/{file_id}", token=world.bob).code == "not_found"
    assert world.ask("DELETE", f"/api/files/{file_id}", token=world.ada).status == 204
    assert world.ask("GET", f"/api/files/{file_id}", token=world.ada).code == "not_found"


def test_the_limit_holds_to_the_byte(world: World) -> None:
    assert upload(world, part(b"x" * UPLOAD_BYTES_MAX) + END).status == 201
    kept = len(world.files.kept)
    over = upload(world, part(b"x" * (UPLOAD_BYTES_MAX + 1)) + END)
    assert (over.status, over.code) == (413, "file_too_large")
    assert len(world.files.kept) == kept


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../x", "x"),
        ("/etc/passwd", "passwd"),
        ("C:\\temp\\x.csv", "x.csv"),
        ("..", "unnamed"),
        (".", "unnamed"),
        ("", "unnamed"),
        ("a/", "a"),
        ("é" * 300, "é" * 255),
        ("<b>.csv", "<b>.csv"),
    ],
)
def test_a_name_is_something_to_show_and_never_a_path(world: World, given: str, shown: str) -> None:
    assert upload(world, part(b"x", given) + END).json["name"] == shown


MANY_PARTS = b"".join(part(b"x") for _ in range(3)) + END
MANY_HEADERS = part(b"x").replace(
    b"\r\n\r\n", b"".join(b"\r\nX: y" for _ in range(99)) + b"\r\n\r\n"
)
BAD = {
    "nothing": (b"", 400, "bad_multipart"),
    "no parts": (END, 422, "file_missing"),
    "not multipart": (b"hello" * 100, 400, "bad_multipart"),
    "breaks off": (part(b"x" * 1000), 400, "bad_multipart"),
    "several files": (MANY_PARTS, 400, "bad_multipart"),
    "many headers": (MANY_HEADERS + END, 400, "bad_multipart"),
    "huge header": (part(b"x", "n" * 20_000) + END, 400, "bad_multipart"),
    "long preamble": (b"\r\n" * 20_000 + part(b"x") + END, 400, "bad_multipart"),
    "long epilogue": (part(b"x") + END + b"x" * 20_000, 400, "bad_multipart"),
    "other field": (part(b"x", field="other") + END, 422, "file_missing"),
    "no file name": (
        part(b"x").replace(b'; filename="log.csv"', b"") + END,
        422,
        "file_missing",
    ),
    "NUL in name": (part(b"x", "a\0b") + END, 400, None),
    "escape in name": (part(b"x", "a\x1b[31mb") + END, 400, None),
}


@pytest.mark.parametrize(("body", "status", "code"), BAD.values(), ids=BAD.keys())
def test_a_bad_envelope_is_refused_and_nothing_is_kept(
    world: World, body: bytes, status: int, code: str | None
) -> None:
    kept = len(world.files.kept)
    answer = upload(world, body)
    assert answer.code == (code or answer.code)
    assert answer.status in ({status} if code else {400, 422})
    assert len(world.files.kept) == kept


@pytest.mark.parametrize(
    "kind",
    ["application/json", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 500],
)
def test_the_content_type_must_be_usable(world: World, kind: str) -> None:
    headers = [("Content-Type", kind)]
    answer = world.ask("POST", "/api/files", part(b"x") + END, token=world.ada, headers=headers)
    assert answer.status in {400, 415}
    assert answer.code in {"unsupported_media_type", "bad_multipart"}


def test_an_upload_that_the_client_abandons_leaves_nothing(world: World) -> None:
    kept, begun = len(world.files.kept), world.files.begun
    head = (
        f"POST /api/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.ada}\r\n"
        f"Content-Type: {KIND[0][1]}\r\nContent-Length: 1000000\r\n\r\n"
    )
    world.raw(head.encode() + part(b"x" * 200_000)[:-2])
    assert world.files.begun == begun + 1
    assert len(world.files.kept) == kept


def test_strangers_are_refused_before_their_file_is_read(world: World) -> None:
    begun = world.files.begun
    answer = world.ask("POST", "/api/files", part(b"x") + END, headers=KIND)
    assert answer.status == 401
    assert world.files.begun == begun


def test_the_answer_is_json_and_hides_nothing_of_the_shelf(world: World) -> None:
    answer = upload(world, part(b"\x00\xff", "b.bin") + END)
    assert set(json.loads(answer.body)) == {"file_id", "name", "bytes", "begins"}
