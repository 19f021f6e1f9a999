"""A page that lists every operation of the REST API, made from its OpenAPI document."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import TemplateView
from drf_spectacular.generators import SchemaGenerator

from plans.people.token_scopes import SCOPES

METHODS = ("get", "post", "put", "patch", "delete")


class ApiDocs(LoginRequiredMixin, TemplateView):
    """The operations, for people; machines read /api/schema/."""

    template_name = "plans/api_docs.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return `operations` and the token `scopes`."""
        document = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
        operations = [
            _operation(path, method, members[method])
            for path, members in document["paths"].items()
            for method in METHODS
            if method in members
        ]
        scopes = {scope: sorted(actions) for scope, actions in SCOPES.items()}
        return super().get_context_data(operations=operations, scopes=scopes, **kwargs)


def _operation(path: str, method: str, described: dict[str, Any]) -> dict[str, Any]:
    body = described.get("requestBody", {}).get("content", {})
    return {
        "method": method.upper(),
        "path": path,
        "summary": described.get("summary", ""),
        "query": [p["name"] for p in described.get("parameters", []) if p["in"] == "query"],
        "body": ", ".join(sorted(body)),
        "answers": ", ".join(sorted(described["responses"])),
    }


def write_null_as_a_type(result: Any, **kwargs: Any) -> Any:
    """Return the document with null as OpenAPI 3.1 writes it; pagination still writes 3.0."""
    if isinstance(result, dict):
        told = {name: write_null_as_a_type(inner) for name, inner in result.items()}
        if told.get("nullable") is True and isinstance(told.get("type"), str):
            del told["nullable"]
            told["type"] = [told["type"], "null"]
        return told
    if isinstance(result, list):
        return [write_null_as_a_type(inner) for inner in result]
    return result
