"""Mail of picoauth into a message queue, for another program to send."""

from picoauth_mail_mq.payload import VERSION, payload
from picoauth_mail_mq.plugin import MailQueuePlugin, QueueSettings

__all__ = ["VERSION", "MailQueuePlugin", "QueueSettings", "payload"]
