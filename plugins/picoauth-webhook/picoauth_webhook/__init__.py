"""Events of picoauth to URLs, signed by Standard Webhooks."""

from picoauth_webhook.plugin import WebhookPlugin
from picoauth_webhook.settings import EndpointSettings, WebhookSettings

__all__ = ["EndpointSettings", "WebhookPlugin", "WebhookSettings"]
