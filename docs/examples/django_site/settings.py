SECRET_KEY = "not for production"
INSTALLED_APPS = ["users"]
STATIC_URL = "static/"
ROOT_URLCONF = "users.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "HOST": "db.example.com",
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
