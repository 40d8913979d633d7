package main

import (
	"encoding/json"
	"net/http"

	"example.com/shopping/product-info/ecommerce"
)

// productsAsJSON is GET /products/{id}: the other way in which two services would talk, for the comparison. It has what
// is usual there: HTTP/1.1, the standard library's JSON, names as in the contract.
func productsAsJSON(p *products) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", func(response http.ResponseWriter, request *http.Request) {
		product, err := p.GetProduct(request.Context(), &ecommerce.ProductID{Value: request.PathValue("id")})
		if err != nil {
			http.Error(response, "there is no such product", http.StatusNotFound)
			return
		}
		response.Header().Set("content-type", "application/json")
		// By the tags of the generated struct; protojson, which is for services that have protobuf anyway, is slower.
		json.NewEncoder(response).Encode(product)
	})
	return mux
}
