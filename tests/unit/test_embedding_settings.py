"""The settings of the embedding model: which provider, which key, and what is refused."""

import pytest

from chatbot.entrypoints.settings.loading import load_settings, setting_names
from chatbot.entrypoints.settings.subject import SettingsError

MODEL = "openai/bge-m3"
CHAT_URL, OWN_URL = "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("settings"))
    for name in setting_names():
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("API_KEY", "5kq0Vxg7S2m9ZtLr4Yb8Wn1Pc6Hd3Fj0")
    monkeypatch.setenv("JWT_SECRET", "Qw9Er7Ty5Ui3Op1As8Df6Gh4Jk2Lz0Xc")


def used(**given: str) -> tuple[str | None, str | None]:
    """The URL and the key of the embedding model with these settings."""
    settings = load_settings(embedding_model=MODEL, **given)
    found = settings.embedding.completed(settings.model)
    return found.base_url, found.raw_api_key


def test_without_a_model_search_is_by_words() -> None:
    assert load_settings().embedding.model is None
    assert load_settings(embedding_model="").embedding.model is None


def test_the_provider_of_the_language_model_serves_the_embedding_model_by_default() -> None:
    assert used(openai_api_key="sk-chat") == (None, "sk-chat")
    assert used(openai_base_url=CHAT_URL) == (CHAT_URL, None)
    assert used(openai_base_url=CHAT_URL, openai_api_key="sk-chat") == (CHAT_URL, "sk-chat")
    assert used(openai_base_url=CHAT_URL, embedding_api_key="sk-own") == (CHAT_URL, "sk-own")


def test_a_provider_of_its_own_never_gets_the_key_of_the_language_model() -> None:
    chat = {"openai_base_url": CHAT_URL, "openai_api_key": "sk-chat"}
    assert used(embedding_base_url=OWN_URL, **chat) == (OWN_URL, None)
    own = {"embedding_base_url": OWN_URL, "embedding_api_key": "sk-own"}
    assert used(**own, **chat) == (OWN_URL, "sk-own")
    assert used(embedding_base_url=OWN_URL) == (OWN_URL, None)


def test_both_models_may_have_the_same_key() -> None:
    assert used(openai_api_key="sk-both", embedding_api_key="sk-both") == (None, "sk-both")


@pytest.mark.parametrize("name", ["local/minilm", "bge-m3", "openai/", "openai/a b", "OpenAI/x"])
def test_a_name_that_is_not_a_providers_model_is_refused_with_what_is_possible(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(embedding_model=name, openai_api_key="k")
    assert str(refused.value) == (
        "EMBEDDING_MODEL: must be openai/NAME, as in openai/text-embedding-3-small. "
        "Fix: see .env.example."
    )


def test_a_model_without_a_provider_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="EMBEDDING_MODEL: needs a provider: set OPENAI_API_KEY"
    ):
        load_settings(embedding_model=MODEL)
