package main

import (
	"encoding/json"
	"net/http"

	"example.com/shopping/product-info/ecommerce"
)

// productsAsJSON serves GET /products/{id} for the comparison, as is usual between services: HTTP/1.1, the standard
// library's JSON, and the contract's names.
func productsAsJSON(p *products) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", func(response http.ResponseWriter, request *http.Request) {
		product, err := p.GetProduct(request.Context(), &ecommerce.ProductID{Value: request.PathValue("id")})
		if err != nil {
			http.Error(response, "no product has this id", http.StatusNotFound)
			return
		}
		response.Header().Set("content-type", "application/json")
		// Uses the tags of the generated struct, because protojson is slower.
		json.NewEncoder(response).Encode(product)
	})
	return mux
}
