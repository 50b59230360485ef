"""The language model that the environment of this installation names."""

from agentgym.environments.language_model import LanguageModel, LanguageModelConfig
from agentgym.errors import InvalidInput
from agentgym.settings import Settings


def language_model(settings: Settings) -> LanguageModel:
    """The model of AGENTGYM_LLM_BASE_URL, with its key and name; nobody is asked yet. Raises InvalidInput when it is not set."""
    if settings.llm_base_url is None or settings.llm_model is None:
        missing = [name for name in ("llm_base_url", "llm_model") if getattr(settings, name) is None]
        raise InvalidInput(
            f"A language model needs an address and a name; {' and '.join(f'AGENTGYM_{name.upper()}' for name in missing)} is not set. "
            "Set them as .env.example shows, or choose another kind of customer."
        )
    return LanguageModel(LanguageModelConfig(base_url=settings.llm_base_url, model=settings.llm_model, api_key=settings.llm_api_key))
