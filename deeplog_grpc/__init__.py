"""DeepLog as a service: learn how an application's logs normally run, and say what is abnormal and why."""

__version__ = "0.1.0"
