import dj_database_url

SECRET_KEY = "not for production"
INSTALLED_APPS = ["users"]
STATIC_URL = "static/"
ROOT_URLCONF = "users.urls"
DATABASES = {"default": dj_database_url.config()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
