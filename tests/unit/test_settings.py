"""Settings: what is refused, with which message, and where values come from."""

import errno
import os
import pickle
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest
from pydantic import AfterValidator

from chatbot.entrypoints.settings.loading import ignored_names, load_settings, setting_names
from chatbot.entrypoints.settings.subject import SettingsError

API_KEY = "5kq0Vxg7S2m9ZtLr4Yb8Wn1Pc6Hd3Fj0"
JWT_SECRET = "Qw9Er7Ty5Ui3Op1As8Df6Gh4Jk2Lz0Xc"
PROVIDER_KEY = "sk-provider-4711"

Environment = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    """An empty folder and valid secrets; sets variables, `None` unsets one."""
    monkeypatch.chdir(tmp_path)
    for name in setting_names():
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("GENKIT_ENV", raising=False)

    def set_all(**variables: str | None) -> None:
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)

    set_all(API_KEY=API_KEY, JWT_SECRET=JWT_SECRET)
    return set_all


def refusal() -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings()
    return str(refused.value)


def test_two_secrets_are_enough(environment: Environment, tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.auth.api_key.get_secret_value() == API_KEY
    assert settings.auth.jwt_secret.get_secret_value() == JWT_SECRET
    assert (settings.http.host, settings.http.port, settings.http.workers) == ("127.0.0.1", 8000, 1)
    assert settings.storage.url.path == tmp_path / "data"
    assert settings.http.is_loopback
    assert not settings.model.has_provider


def test_secrets_are_hidden_from_repr(environment: Environment) -> None:
    environment(OPENAI_API_KEY=PROVIDER_KEY)
    shown = f"{load_settings()!r} {load_settings()}"
    assert not any(secret in shown for secret in (API_KEY, JWT_SECRET, PROVIDER_KEY))


@pytest.mark.parametrize("name", ["API_KEY", "JWT_SECRET"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "is not set"),
        ("", "is not set"),
        (" " * 40, "is not set"),
        ("short-but-random-4711", "at least 32 characters"),
        ("x" * 31, "at least 32 characters"),
        ("very-long-secret-very-long-secret-very-long-secret", "is an example"),
        ("changeme" * 8, "is an example"),
        ("0123456789" * 4, "is an example"),
    ],
)
def test_bad_secret_is_rejected_by_name_with_the_fix_and_without_the_value(
    environment: Environment, name: str, value: str | None, reason: str
) -> None:
    environment(**{name: value})
    message = refusal()
    assert message.startswith(f"{name}: ")
    assert reason in message
    assert "`chatbot init`" in message
    assert "\n" not in message
    assert not (value and value.strip() and value in message)


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}\t", '"{}"', "'{}'\n", "\ufeff{}"])
def test_whitespace_and_quotes_around_an_environment_value_are_ignored(
    environment: Environment, around: str
) -> None:
    """`docker --env-file` keeps quotes; a Kubernetes secret made with `echo` keeps its newline."""
    values = {
        "API_KEY": API_KEY,
        "JWT_SECRET": JWT_SECRET,
        "OPENAI_API_KEY": PROVIDER_KEY,
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "GENKIT_MODEL": "openai/m",
        "STORAGE_URL": "postgresql://ana:x@db:5432/chatbot",
        "HOST": "0.0.0.0",
        "PORT": "9001",
    }
    environment(**{name: around.format(value) for name, value in values.items()})
    settings = load_settings()
    assert settings.auth.api_key.get_secret_value() == API_KEY
    assert settings.auth.jwt_secret.get_secret_value() == JWT_SECRET
    assert settings.model.api_key is not None
    assert settings.model.api_key.get_secret_value() == PROVIDER_KEY
    assert settings.storage.url.raw == values["STORAGE_URL"]
    assert (settings.model.base_url, settings.model.name) == (
        values["OPENAI_BASE_URL"],
        values["GENKIT_MODEL"],
    )
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", 9001)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("API_KEY", f"{API_KEY[:8]}\n{API_KEY[8:]}", "line break or an invisible character"),
        ("JWT_SECRET", f"{JWT_SECRET[:8]}\r\n{JWT_SECRET[8:]}", "line break or an invisible"),
        ("OPENAI_API_KEY", "sk-4711\nsk-4712", "line break or an invisible character"),
        ("OPENAI_API_KEY", "sk-4711\u200bsk", "line break or an invisible character"),
        ("OPENAI_API_KEY", "sk-4711\x1b[0m", "line break or an invisible character"),
        ("OPENAI_API_KEY", "Bearer sk-4711", "contains a space"),
        ("OPENAI_API_KEY", "sk-\u0430471", "non-ASCII"),
        ("EMBEDDING_API_KEY", "Bearer sk-4711", "contains a space"),
        ("EMBEDDING_BASE_URL", "http://127.0.0.1:4711/ v1", "contains a space"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:4711/ v1", "contains a space"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:4711/\tv1", "line break or an invisible"),
        ("STORAGE_URL", "json:4711\ndata", "line break or an invisible character"),
        ("LIMITS_URL", "redis://:4711\n@db", "line break or an invisible character"),
    ],
)
def test_invalid_character_in_a_header_or_url_setting_is_named_without_the_value(
    environment: Environment, tmp_path: Path, name: str, value: str, reason: str
) -> None:
    (tmp_path / "secret.txt").write_text(value, encoding="utf-8", newline="")
    ways = [{name: value}]
    if not name.endswith("_BASE_URL"):
        ways.append({name: "", f"{name}_FILE": "secret.txt"})
    for way in ways:
        environment(**way)
        message = refusal()
        assert message.startswith(f"{name}: contains a ")
        assert reason in message
        assert "4711" not in message
        assert not any(half in message for half in (API_KEY[8:], JWT_SECRET[8:]))


def test_every_fault_has_a_line_of_its_own(environment: Environment) -> None:
    environment(API_KEY=None, JWT_SECRET=None, PORT="x")
    assert [line.partition(":")[0] for line in refusal().splitlines()] == [
        *("API_KEY", "JWT_SECRET", "PORT"),
    ]


@pytest.mark.parametrize("form", ["{}", " {} ", "file"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("API_KEY", "JWT_SECRET"),
        ("API_KEY", "OPENAI_API_KEY"),
        ("JWT_SECRET", "EMBEDDING_API_KEY"),
        ("JWT_SECRET", "OPENAI_API_KEY"),
        ("JWT_SECRET", "STORAGE_URL"),
        ("API_KEY", "LIMITS_URL"),
    ],
)
def test_the_same_secret_for_two_purposes_is_refused_by_both_names(
    environment: Environment, tmp_path: Path, one: str, other: str, form: str
) -> None:
    secret = {"API_KEY": API_KEY, "JWT_SECRET": JWT_SECRET}[one]
    urls = {"STORAGE_URL": "postgresql://chat:{}@db/chat", "LIMITS_URL": "redis://:{}@db"}
    value = urls.get(other, "{}").format(secret)
    if form == "file":
        (tmp_path / "secret.txt").write_text(f"{value}\n", encoding="utf-8")
        present = {other: None} if other == "JWT_SECRET" else {}
        environment(**present, **{f"{other}_FILE": "secret.txt"})
    else:
        environment(**{other: form.format(value)})
    message = refusal()
    assert f"{other}: must differ from {one}" in message
    assert secret not in message


def test_provider_keys_that_are_absent_do_not_count_as_the_same(environment: Environment) -> None:
    environment(OPENAI_API_KEY="  ", STORAGE_URL="postgresql://chat@db/chat")
    load_settings()


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("API_KEY", "auth.api_key"),
        ("JWT_SECRET", "auth.jwt_secret"),
        ("OPENAI_API_KEY", "model.api_key"),
        ("EMBEDDING_API_KEY", "embedding.api_key"),
    ],
)
def test_secret_may_be_in_a_file(
    environment: Environment, tmp_path: Path, name: str, attribute: str
) -> None:
    secret = "Zm4Nb2Vc8Xq6Wp0Le1Kr3Jt5Hy7Gu9Fi"
    (tmp_path / "secret.txt").write_text(f"  {secret}\n", encoding="utf-8")
    for path in ("secret.txt", str(tmp_path / "secret.txt")):
        environment(**{name: "", f"{name}_FILE": path})
        assert attrgetter(attribute)(load_settings()).get_secret_value() == secret


@pytest.mark.parametrize("name", ["API_KEY", "JWT_SECRET", "OPENAI_API_KEY"])
def test_secret_and_its_file_are_not_both_set(
    environment: Environment, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret.txt").write_text(API_KEY, encoding="utf-8")
    environment(**{name: API_KEY, f"{name}_FILE": "secret.txt"})
    message = refusal()
    assert message.startswith(f"{name}: ")
    assert f"{name}_FILE" in message
    assert API_KEY not in message


@pytest.mark.parametrize("name", ["API_KEY", "JWT_SECRET", "OPENAI_API_KEY"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_file_of_a_secret_that_cannot_be_read_is_named(
    environment: Environment, tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "secret.txt").write_bytes(content)
    environment(**{name: "", f"{name}_FILE": "secret.txt"})
    assert refusal().startswith(f"{name}_FILE: cannot be read")


@pytest.mark.parametrize("name", ["API_KEY", "JWT_SECRET"])
def test_empty_secret_file_counts_as_unset(
    environment: Environment, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret.txt").write_text("\n", encoding="utf-8")
    environment(**{name: "", f"{name}_FILE": "secret.txt"})
    assert refusal().startswith(f"{name}: ")


def test_env_file_of_the_working_directory_is_read_and_the_environment_comes_first(
    environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        f"# Español\nAPI_KEY={API_KEY}\nPORT=9001\nASSISTANT_NAME='Señora'\nUNKNOWN=1\n",
        encoding="utf-8",
    )
    environment(API_KEY=None, PORT="9002")
    settings = load_settings()
    assert settings.auth.api_key.get_secret_value() == API_KEY
    assert (settings.http.port, settings.assistant.name) == (9002, "Señora")


def test_unknown_names_in_the_env_file_are_reported_with_the_nearest_setting(
    environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        "TRUSTED_PROXY=10.0.0.2\nhttps_proxy=http://proxy\nPORT=9001\nQw9Er7Ty5Ui3Op1As8Df6G\n",
        encoding="utf-8",
    )
    assert list(ignored_names()) == [
        ".env: TRUSTED_PROXY is not a setting and has no effect: did you mean TRUSTED_PROXIES?",
        ".env: HTTPS_PROXY is not a setting and has no effect here: set it in the environment",
    ]


@pytest.mark.parametrize(("old", "new"), [("lean", "aiohttp"), ("plugin", "sdk"), ("sdk", "sdk")])
def test_transport_is_still_read_by_its_old_name(
    environment: Environment, tmp_path: Path, old: str, new: str
) -> None:
    environment(MODEL_WIRE=old)
    assert load_settings().model.transport == new
    environment(MODEL_WIRE=None)
    (tmp_path / ".env").write_text(f"MODEL_WIRE={old}\n", encoding="utf-8")
    assert load_settings().model.transport == new
    assert list(ignored_names()) == []
    environment(MODEL_TRANSPORT="aiohttp")
    assert load_settings().model.transport == "aiohttp", "the new name comes first"


def test_env_file_that_is_not_text_is_named(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"API_KEY=\xff")
    assert refusal().startswith(".env: cannot be read")


def test_env_file_of_another_account_is_reported_with_the_fix(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    (tmp_path / ".env").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        SettingsError, match=r"cannot be read \(Permission denied\)\. Fix: run this as"
    ):
        load_settings()


def test_relative_paths_count_from_the_folder_of_the_env_file(
    environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "about.txt").write_text("Somos una panadería.", encoding="utf-8")
    environment(
        STORAGE_URL="json:some/folder",
        ASSISTANT_INSTRUCTIONS_FILE="about.txt",
        TLS_CERT_FILE="cert.pem",
        TLS_KEY_FILE="/etc/key.pem",
    )
    settings = load_settings()
    assert settings.storage.url.path == tmp_path / "some" / "folder"
    assert settings.assistant.instructions == "Somos una panadería."
    (tmp_path / "about.txt").write_text("Changed.", encoding="utf-8")
    assert pickle.loads(pickle.dumps(settings)).assistant.instructions == "Somos una panadería."
    assert settings.http.tls_cert_file == tmp_path / "cert.pem"
    assert settings.http.tls_key_file == Path("/etc/key.pem")


def test_absolute_storage_folder_stays_as_it_is(environment: Environment) -> None:
    environment(STORAGE_URL="json:/srv/chatbot")
    assert load_settings().storage.url.path == Path("/srv/chatbot")


def test_unreadable_instructions_file_is_named(environment: Environment) -> None:
    environment(ASSISTANT_INSTRUCTIONS_FILE="missing.txt")
    with pytest.raises(SettingsError, match=r"ASSISTANT_INSTRUCTIONS_FILE: .*missing\.txt"):
        load_settings()


def test_empty_value_is_the_default(environment: Environment) -> None:
    environment(PORT="", OPENAI_BASE_URL="", MODEL_TEMPERATURE="", LOG_FORMAT="", HOST="")
    settings = load_settings()
    assert (settings.http.port, settings.http.host) == (8000, "127.0.0.1")
    assert settings.model.base_url is None
    assert settings.model.temperature is None


def test_notice_is_the_languages_unless_it_is_set_even_to_nothing(environment: Environment) -> None:
    assert load_settings().assistant.notice is None
    environment(ASSISTANT_NOTICE="Hello, robot here.")
    assert load_settings().assistant.notice == "Hello, robot here."
    environment(ASSISTANT_NOTICE="")
    assert load_settings().assistant.notice == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("PORT", value) for value in ("-1", "65536", "x", "80.5")),
        *(("WORKERS", value) for value in ("0", "65", "x")),
        *(("JWT_TTL_MINUTES", value) for value in ("0", "1441")),
        *(("MAX_PROMPT_CHARS", value) for value in ("0", "-1")),
        *(("MODEL_TURN_TIMEOUT_S", value) for value in ("0", "-1", "nan", "inf", "x")),
        *(("MODEL_TEMPERATURE", value) for value in ("-0.1", "2.1")),
        ("MODEL_MAX_CONCURRENT", "0"),
        ("MODEL_TRANSPORT", "other"),
        ("MODEL_MAX_TOKENS_FIELD", "tokens"),
        ("MODEL_SYSTEM_ROLE", "user"),
        ("MODEL_REASONING_EFFORT", "a lot"),
        ("MODEL_STRIP_THINKING", "perhaps"),
        ("DEFAULT_LANGUAGE", "fr"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("MEM_STRUCTURED_MAX_ITEMS", "0"),
        ("MEM_SUMMARIZE_THRESHOLD", "-1"),
        ("OPENAI_BASE_URL", "canary.example.com/v1"),
        ("EMBEDDING_BASE_URL", "canary.example.com/v1"),
        *(("EMBEDDING_TIMEOUT_SECONDS", value) for value in ("0", "-1", "x")),
        *(
            ("OPENAI_BASE_URL", f"http://{rest}")
            for rest in ("", "/v1", "[canary", "canary:99999/v1", "canary:x/v1", "u:canary@host/v1")
        ),
        *(("KEEP_ALIVE_S", value) for value in ("0", "3601", "x", "1.5")),
        ("DOCS_ENABLED", "perhaps"),
        *(
            ("STORAGE_URL", value)
            for value in (
                "sqlite:canary",
                "sqlite:///",
                "postgresql://canary",
                "postgresql://user:12/canary@host/db",
                "postgresql://user:/canary@host/db",
                "postgresql://user:a@canary@host/db",
                "postgresql://user:12?canary@host/db",
                "postgresql://user:12 canary@host/db",
                "postgresql://user:canary@host:/db",
                "mysql://canary/db",
                "json:",
                "/",
            )
        ),
        *(
            ("LIMITS_URL", value)
            for value in (
                "canary",
                "redis://",
                "redis:canary",
                "http://canary",
                "redis://user:12/canary@host",
                "redis://user:12#canary@host",
                "redis://user:12 canary@host",
                "redis://host:canary",
                "redis://host:99999/canary",
                "redis://host:0",
                "redis://host/canary",
                "redis://host?password=canary",
                "redis://[canary",
            )
        ),
    ],
)
def test_value_outside_its_limits_is_refused_by_name(
    environment: Environment, name: str, value: str
) -> None:
    environment(**{name: value})
    message = refusal()
    assert message.startswith(f"{name}: ")
    assert "canary" not in message


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("redis://db", "redis://db"),
        (" rediss://ana:p%40ss@db:6380/3 ", "rediss://db:6380/3"),
        ("redis://:p%40ss@[::1]:6379/", "redis://::1:6379/"),
        ("rediss://db?ssl_ca_certs=/a.pem&ssl_check_hostname=no", "rediss://db"),
    ],
)
def test_limits_url_is_shown_without_its_password(
    environment: Environment, value: str, shown: str
) -> None:
    environment(LIMITS_URL=value)
    url = load_settings().limits.url
    assert url is not None
    assert (url.raw, url.shown) == (value.strip(), shown)
    assert url.password == ("p@ss" if "%40" in value else "")
    assert "p%40ss" not in repr(load_settings())


@pytest.mark.parametrize("value", ["memory:canary", "memory:/canary"])
def test_memory_storage_takes_no_name(environment: Environment, value: str) -> None:
    environment(STORAGE_URL=value)
    assert refusal().startswith("STORAGE_URL: ")


def test_settings_that_do_not_fit_together_are_refused(environment: Environment) -> None:
    environment(MEM_WINDOW_MESSAGES="12", MEM_SUMMARIZE_THRESHOLD="11")
    assert refusal().startswith("MEM_SUMMARIZE_THRESHOLD: ")
    environment(MEM_SUMMARIZE_THRESHOLD="0")
    assert load_settings().memory.summarize_threshold == 0
    environment(MODEL_MAX_OUTPUT_TOKENS="600", MODEL_CONTEXT_TOKENS="1199")
    assert refusal().startswith("MODEL_CONTEXT_TOKENS: ")
    environment(MODEL_CONTEXT_TOKENS="1200", TLS_CERT_FILE="cert.pem")
    assert refusal().startswith("TLS_CERT_FILE: ")
    environment(TLS_CERT_FILE="", STORAGE_URL="memory:", WORKERS="2")
    assert refusal().startswith("STORAGE_URL: ")
    assert "WORKERS" in refusal()
    environment(STORAGE_URL="json:data")
    assert load_settings().http.workers == 2


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("TRUSTED_PROXIES", ("10.0.0.1", "10.0.0.0/24", "::1")),
        ("ALLOWED_HOSTS", ("10.0.0.1", "Chat.example.com", "[::1]", "chat_1", "xn--espaa-rta.es")),
        ("CORS_ALLOW_ORIGINS", ("http://10.0.0.1", "https://a.example.com:8443", "http://[::1]:1")),
    ],
)
@pytest.mark.parametrize("between", [",", " ", " , ", ",,", "\t"])
def test_list_values_are_separated_by_commas_or_spaces(
    environment: Environment, name: str, entries: tuple[str, ...], between: str
) -> None:
    environment(**{name: f" {between.join(entries)}{between}"})
    assert getattr(load_settings().http, name.lower()) == entries


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        *(
            ("TRUSTED_PROXIES", one)
            for one in ("*", "canary", "10.0.0.2:80", "10.0.0.2/8", "[::1]")
        ),
        *(
            ("ALLOWED_HOSTS", one)
            for one in (
                *("*", "*.canary.com", "https://canary.com", "canary.com:8000", "canary.com/"),
                *(
                    "::1",
                    "[::g]",
                    "[::1]:80",
                    "ñ.canary.com",
                    "canary..com",
                    ".canary.com",
                    "-canary",
                ),
                *("canary.com.", "a" * 64, "a." * 127 + "com", "[fe80::1%canary]", "u@canary"),
            )
        ),
        *(
            ("CORS_ALLOW_ORIGINS", one)
            for one in (
                *(
                    "canary.com",
                    "https://canary.com/",
                    "https://canary.com/path",
                    "null",
                    "https://",
                ),
                *(
                    "https://*.canary.com",
                    "HTTPS://canary.com",
                    "https://Canary.com",
                    "//canary.com",
                ),
                *(
                    "ftp://canary.com",
                    "https://u@canary.com",
                    "https://canary.com:99999",
                    "https://c:",
                ),
                *(
                    "https://canary.com:443",
                    "http://canary.com:80",
                    "http://canary.com:x",
                    "http://c:0",
                ),
                *("https://canary.com?x", "https://canary.com#x", "https://[::g]", "https://[::1"),
            )
        ),
    ],
)
def test_list_with_an_entry_of_another_form_is_refused_by_name_and_number(
    environment: Environment, name: str, entry: str
) -> None:
    good = {"CORS_ALLOW_ORIGINS": "https://a.example.com"}.get(name, "10.0.0.1")
    environment(**{name: f"{good} {entry}"})
    message = refusal()
    assert message.startswith(f"{name}: entry 2 of 2 must be ")
    assert "canary" not in message.lower()


def test_star_must_be_the_only_origin(environment: Environment) -> None:
    environment(CORS_ALLOW_ORIGINS="*")
    assert load_settings().http.cors_allow_origins == ("*",)
    environment(CORS_ALLOW_ORIGINS="* https://a.example.com")
    assert refusal().startswith("CORS_ALLOW_ORIGINS: ")


def test_settings_that_are_lists_each_have_a_form_of_their_own(environment: Environment) -> None:
    """Also checks lists added later, whose type is one of `lists`."""
    subjects = [subject for _, subject in load_settings()]
    fields = [each for subject in subjects for each in type(subject).model_fields.items()]
    lists = {name: field for name, field in fields if "tuple" in str(field.annotation)}
    assert {"trusted_proxies", "allowed_hosts", "cors_allow_origins"} <= lists.keys()
    for name, field in lists.items():
        assert any(isinstance(one, AfterValidator) for one in field.metadata), name


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        *(("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("10.0.0.7", False), ("chat.example.com", False)),
    ],
)
def test_developer_mode_needs_an_address_that_only_this_machine_reaches(
    environment: Environment, host: str, is_loopback: bool
) -> None:
    environment(HOST=host, GENKIT_ENV="dev")
    if is_loopback:
        assert load_settings().http.is_loopback
    else:
        assert refusal().startswith("GENKIT_ENV: ")
    environment(WORKERS="2")
    assert refusal().startswith("GENKIT_ENV: ")
    environment(GENKIT_ENV="prod")
    assert load_settings().http.is_loopback is is_loopback


def test_command_line_options_take_precedence(environment: Environment) -> None:
    environment(PORT="9001")
    assert load_settings(port=9002).http.port == 9002


def test_extraction_is_free_with_the_embedded_model_and_rarer_with_others(
    environment: Environment,
) -> None:
    settings = load_settings()
    assert settings.memory.extract_every_for("local/extractive") == 1
    assert settings.memory.extract_every_for("openai/gpt-x") == 3
    environment(MEM_EXTRACT_EVERY="5")
    assert load_settings().memory.extract_every_for("local/extractive") == 5


def test_time_zone_of_limits_is_one_of_the_systems(environment: Environment) -> None:
    assert str(load_settings().limits.timezone) == "UTC"
    environment(LIMITS_TIMEZONE="Europe/Madrid")
    assert str(load_settings().limits.timezone) == "Europe/Madrid"
    for wrong in ("Mars/Olympus", "../etc/passwd", "/etc/localtime", "x" * 300, "UTC+25"):
        environment(LIMITS_TIMEZONE=wrong)
        assert "LIMITS_TIMEZONE: must be the name of a time zone" in refusal()
        assert wrong not in refusal()
