from django.http import HttpRequest, JsonResponse
from django.urls import path

from users.models import User


def register(request: HttpRequest, email: str) -> JsonResponse:
    user, is_new = User.objects.get_or_create(email=email)
    return JsonResponse({"id": user.pk}, status=201 if is_new else 409)


urlpatterns = [path("users/<email>", register)]
