"""The control plane: REST under ``/api/v1``, problem documents for every error, bearer tokens with scopes.

``insula.api.app.create_app(platform)`` makes it.
"""
